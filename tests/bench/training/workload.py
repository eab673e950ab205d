"""The data set that everything is measured on, as training finds it, and steps as training takes
them.
"""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from imgcap import files
from imgcap.config import (
    Config,
    DecodeConfig,
    ModelConfig,
    PrepareConfig,
    TrainConfig,
    config_from_json,
    to_json,
)
from imgcap.data import manifest
from imgcap.data.batches import Batch
from imgcap.data.manifest import Manifest
from imgcap.data.prepare.preparation import prepare
from imgcap.data.text.vocabulary import Vocabulary
from imgcap.errors import DataError
from imgcap.model.captioner import Captioner, make_captioner_encoder
from imgcap.model.decoders import make_decoder
from imgcap.model.encoder import Encoder
from imgcap.model.precision import dtype_policy
from imgcap.training.inputs import stored_features
from imgcap.training.inputs.examples import images_per_batch
from imgcap.training.inputs.stored_features import StoredFeatures
from imgcap.training.objective import make_objective
from imgcap.training.optimizer import make_optimizer
from imgcap.training.step import TrainStep, make_train_step
from tests.bench.config import BenchConfig, TrainingBenchConfig
from tests.bench.training import photos

SHARDS = 8
STEPS_OF_A_RUN = 1000
CONFIG = "config.json"
RAW = "raw"


class Workload(NamedTuple):
    """All that exists before the first measurement.

    Attributes:
        raw_dir: images and captions in Kaggle's layout.
        data_dir: the same, prepared.
        config_path: a run's config, of which `train` trains on stored features.
        config: its content.
        prepared: manifest of the shards.
        vocabulary: of the captions.
        encoder: random weights.
        stored: its features of the training split.
    """

    raw_dir: Path
    data_dir: Path
    config_path: Path
    config: Config
    prepared: Manifest
    vocabulary: Vocabulary
    encoder: Encoder
    stored: StoredFeatures

    def image_shards(self) -> list[str]:
        """The shards of the training split."""
        return manifest.shard_paths(self.data_dir, self.prepared, "train")

    def feature_shards(self, captions: int) -> list[str]:
        """The shards of stored features, again and again until they hold so many captions."""
        return repeat_shards(
            self.stored.paths(self.prepared, "train"), self.prepared.captions["train"], captions
        )

    def images_per_batch(self) -> int:
        """As training has it: as many images as their captions make a batch."""
        return images_per_batch(self.prepared, self.config.train.batch_size)


def make_workload(
    bench: BenchConfig,
    training: TrainingBenchConfig,
    folder: Path,
    decoder: str = ModelConfig.decoder,
) -> Workload:
    """Draws or copies the data, prepares it and stores its features.

    Args:
        bench: names the encoder.
        training: data and sizes.
        folder: for all of it.
        decoder: as `ModelConfig` names it; one that attends has features of all positions.

    Returns:
        What the measurements take.

    Raises:
        DataError: `data_dir` is no prepared data.
        ConfigError: the encoder cannot be loaded.
    """
    raw_dir, data_dir = folder / RAW, folder / "data"
    if training.data_dir:
        photos.copy_photos(raw_dir, Path(training.data_dir), training.images)
    else:
        photos.draw_photos(raw_dir, training.images, seed=0)
    prepared = prepare(preparation(raw_dir, data_dir))
    model = ModelConfig(
        encoder=bench.encoder,
        encoder_weights="none",
        image_size=bench.image_size,
        decoder=decoder,
        units=training.units,
        embedding_dim=training.units,
    )
    train = TrainConfig(
        data_dir=str(data_dir),
        workdir=str(folder / "run"),
        batch_size=training.batch_size,
        cache_features=True,
    )
    config = Config(model=model, train=train)
    files.write_text(folder / CONFIG, to_json(config))
    encoder = make_captioner_encoder(model)
    stored = stored_features.store_features(
        encoder,
        data_dir,
        prepared,
        folder / stored_features.FOLDER,
        image_size=model.image_size,
        splits=("train",),
    )
    vocabulary = Vocabulary.load(data_dir / manifest.VOCABULARY_NAME)
    return Workload(
        raw_dir, data_dir, folder / CONFIG, config, prepared, vocabulary, encoder, stored
    )


def load_workload(config_path: Path, features_dir: Path) -> Workload:
    """Loads in another process what `make_workload` made; the encoder has other weights.

    Args:
        config_path: its config.
        features_dir: its stored features.

    Returns:
        The same, with captions and features where they are.
    """
    config = config_from_json(config_path.read_text(encoding="utf-8"), config_path)
    folder, data_dir = config_path.parent, Path(config.train.data_dir)
    stored = StoredFeatures(
        features_dir,
        tuple(files.read_json(features_dir / stored_features.NAME, DataError, "")["shape"]),
        1,
    )
    encoder = make_captioner_encoder(config.model)
    vocabulary = Vocabulary.load(data_dir / manifest.VOCABULARY_NAME)
    prepared = manifest.load_manifest(data_dir)
    return Workload(
        folder / RAW, data_dir, config_path, config, prepared, vocabulary, encoder, stored
    )


def preparation(raw_dir: Path, output_dir: Path) -> PrepareConfig:
    """Settings of the preparation; rare words are kept, else so few captions would have too few."""
    return PrepareConfig(
        raw_dir=str(raw_dir), output_dir=str(output_dir), num_shards=SHARDS, min_count=1
    )


def repeat_shards(paths: Sequence[str], held: int, wanted: int) -> list[str]:
    """Lists shards, one after the other and from the start again, until they hold enough.

    Args:
        paths: shards of about the same size.
        held: images or captions that all of them hold.
        wanted: images or captions that the list should hold.

    Returns:
        At least one path.
    """
    return list(itertools.islice(itertools.cycle(paths), max(1, round(len(paths) * wanted / held))))


def make_step(
    work: Workload, train: TrainConfig, references: Iterable[np.ndarray] = ()
) -> TrainStep:
    """Builds a train step on a decoder of its own.

    Args:
        work: has the encoder; the blocks that `train` names become trainable.
        train: how to train; its precision is the decoder's.
        references: numbered captions of the training images, for the self-critical objective alone.

    Returns:
        The step, as `imgcap-train` would take it.
    """
    model = work.config.model
    with dtype_policy(train.precision):
        decoder = make_decoder(model, len(work.vocabulary), work.encoder.features_shape)
        captioner = Captioner(work.encoder, decoder, work.vocabulary)
        work.encoder.set_trainable(train.finetune_blocks, update_statistics=False)
        optimizer = make_optimizer(
            train,
            decoder.trainable_variables,
            work.encoder.network.trainable_variables,
            STEPS_OF_A_RUN,
        )
    objective = make_objective(train, DecodeConfig(), captioner, references, STEPS_OF_A_RUN)
    return make_train_step(train, tf.distribute.get_strategy(), captioner, optimizer, objective)


def train_on(step: TrainStep, batches: Iterable[Batch]) -> None:
    """Takes a step on each batch; returns when the last is done."""
    loss = tf.zeros([])
    for number, batch in enumerate(batches):
        loss = step(batch, tf.constant(number, tf.int32)).loss
    # Read at the end: the clock must not stop before the device does.
    float(loss)
