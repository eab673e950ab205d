"""Where the examples of a run come from: stored features or image shards, one input pipeline a
worker.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from imgcap.config import Config
from imgcap.data import batches, manifest, shards
from imgcap.data.manifest import Manifest
from imgcap.data.records import parse_example
from imgcap.model.encoder import Encoder
from imgcap.run.checkpoints import Progression
from imgcap.training.inputs import stored_features
from imgcap.training.inputs.stored_features import StoredFeatures
from imgcap.training.machines.workers import Workers
from imgcap.training.watching.tensorboard import Sample

DEV = "dev"
IMAGES_A_DEV_BATCH = 32
# Dev images that are shown with their captions: enough to see what is learnt, few enough to look
# at.
SAMPLES = 8


class TrainingData(NamedTuple):
    """The examples of a run.

    Attributes:
        prepared: manifest of the image shards.
        data_dir: holds the image shards.
        stored: feature shards, if the run trains on stored features.
        references: of the dev split, in its order.
        steps_per_epoch: global batches in an epoch.
        images_per_batch: images in a global batch, where images are read.
    """

    prepared: Manifest
    data_dir: Path
    stored: StoredFeatures | None
    references: list[shards.Reference]
    steps_per_epoch: int
    images_per_batch: int

    def captions_per_image(self) -> float:
        """Of the training images, on average."""
        return self.prepared.captions["train"] / self.prepared.images["train"]

    def training_shards(self) -> list[Path]:
        """What an epoch reads: stored features or images."""
        return self._shards("train")

    def dev_shards(self) -> list[Path]:
        """What is captioned behind an epoch: stored features or images."""
        return self._shards(DEV)

    def _shards(self, split: str) -> list[Path]:
        if self.stored:
            return self.stored.paths(self.prepared, split)
        return manifest.shard_paths(self.data_dir, self.prepared, split)


def make_training_data(
    config: Config, encoder: Encoder, workers: Workers, prepared: Manifest
) -> TrainingData:
    """Finds the examples; stores the encoder's features first where the config wants them.

    Args:
        config: of the run.
        encoder: used for stored features alone.
        workers: that train together; the chief alone stores features, if the others find them where
            it put them.
        prepared: manifest of the image shards.

    Returns:
        The examples.

    Raises:
        DataError: a split is empty or a shard damaged.
    """
    plan, settings = plan_data(config, prepared), config.train
    data_dir = plan.data_dir

    def store() -> StoredFeatures:
        cache_dir = (
            Path(settings.cache_dir) if settings.cache_dir else data_dir / stored_features.FOLDER
        )
        # Never in the dev split: scores of other images would not compare.
        skipping = ("train",) if settings.skip_bad_records else ()
        return stored_features.store_features(
            encoder,
            data_dir,
            prepared,
            cache_dir,
            image_size=config.model.image_size,
            splits=("train", DEV),
            skipping=skipping,
            views=stored_features.Views(settings.cached_views, settings.random_crop),
        )

    stored = _chief_first(workers, store) if settings.cache_features else None
    references = shards.references(manifest.shard_paths(data_dir, prepared, DEV))
    return plan._replace(stored=stored, references=references)


def plan_data(config: Config, prepared: Manifest) -> TrainingData:
    """What can be said of the examples without reading any: no features are stored and no
    references read.

    Args:
        config: of the run.
        prepared: manifest of the image shards.

    Returns:
        The examples, `stored` and `references` left out.
    """
    settings = config.train
    captions_per_image = max(1, round(prepared.captions["train"] / prepared.images["train"]))
    images_per_batch = max(1, settings.batch_size // captions_per_image)
    if _row_is_a_caption(config):
        counts = {int(length): count for length, count in prepared.token_counts.items()}
        steps = batches.feature_steps(counts, settings.batch_size)
    else:
        steps = -(-prepared.images["train"] // images_per_batch)
    return TrainingData(prepared, Path(settings.data_dir), None, [], steps, images_per_batch)


def _row_is_a_caption(config: Config) -> bool:
    """Whether captions of about one length are batched; else an image comes with all its
    captions.
    """
    return config.train.cache_features and config.train.objective == "cross_entropy"


def total_steps(config: Config, data: TrainingData) -> int:
    """Steps of the whole run if nothing stops it early."""
    steps = config.train.epochs * data.steps_per_epoch
    return min(steps, config.train.max_steps) if config.train.max_steps else steps


def _chief_first(workers: Workers, store: Callable[[], StoredFeatures]) -> StoredFeatures:
    stored = workers.on_chief(store)
    return workers.together(lambda: stored or store())


class Readable(NamedTuple):
    """What of the training split can be read now.

    Attributes:
        steps: global batches in an epoch of it.
        lost: images that can't be read.
        problems: one a damaged shard, in words.
    """

    steps: int
    lost: int
    problems: list[str]


def survey(config: Config, data: TrainingData) -> Readable:
    """Reads the training shards to their ends and counts.

    Args:
        config: of the run.
        data: its examples.

    Returns:
        What an epoch will find.
    """
    found = shards.survey(data.training_shards())
    images = sum(shard.records for shard in found)
    counts = sum((Counter(shard.token_counts) for shard in found), Counter())
    by_caption = _row_is_a_caption(config)
    steps = (
        batches.feature_steps(counts, config.train.batch_size)
        if by_caption
        else -(-images // data.images_per_batch)
    )
    return Readable(steps, data.prepared.images["train"] - images, damages(found))


def damages(shards: Iterable[shards.ShardSurvey]) -> list[str]:
    """The damaged ones among some shards: where, and how it shows."""
    return [
        f"{shard.path} behind record {shard.records} ({shard.problem})"
        for shard in shards
        if shard.problem
    ]


def training_dataset(
    config: Config, data: TrainingData, progression: Progression, rows: batches.Rows
) -> tf.data.Dataset:
    """The rest of the current epoch.

    Args:
        config: of the run.
        data: its examples.
        progression: epoch and batch to begin with.
        rows: this pipeline's share of each global batch.

    Returns:
        A data set of `Batch`.
    """
    settings = config.train
    position = {
        "seed": settings.seed,
        "epoch": progression.epoch,
        "start": progression.batch,
        "rows": rows,
        "skip_bad": settings.skip_bad_records,
    }
    if data.stored:
        paths = data.training_shards()
        position |= {"features_shape": data.stored.shape, "views": data.stored.views}
        if not _row_is_a_caption(config):
            return batches.training_encoded(paths, images=data.images_per_batch, **position)
        return batches.training_features(
            paths, captions=settings.batch_size, max_length=data.prepared.max_length, **position
        )
    return batches.training_images(
        data.training_shards(),
        images=data.images_per_batch,
        image_size=config.model.image_size,
        augment=settings.augment,
        random_crop=settings.random_crop,
        services=settings.data_service.split(",") if settings.data_service else (),
        **position,
    )


def reference_tokens(data: TrainingData) -> Iterator[np.ndarray]:
    """The numbered captions of each training image: int32 [N, T], words, end, padding."""
    return shards.reference_tokens(manifest.shard_paths(data.data_dir, data.prepared, "train"))


def dev_dataset(config: Config, data: TrainingData, rows: batches.Rows) -> tf.data.Dataset:
    """The dev split, once, in order.

    Args:
        config: of the run.
        data: its examples.
        rows: this pipeline's share of each global batch.

    Returns:
        A data set of `EvaluationBatch`.
    """
    paths = data.dev_shards()
    if data.stored:
        return batches.evaluation_features(
            paths, images=IMAGES_A_DEV_BATCH, features_shape=data.stored.shape, rows=rows
        )
    return batches.evaluation_images(
        paths, images=IMAGES_A_DEV_BATCH, image_size=config.model.image_size, rows=rows
    )


def samples(data: TrainingData) -> list[Sample]:
    """The first dev images, to be shown with their captions as training goes."""
    records = tf.data.TFRecordDataset(
        [str(path) for path in manifest.shard_paths(data.data_dir, data.prepared, DEV)]
    )
    rows = records.take(SAMPLES).map(parse_example).as_numpy_iterator()
    return [
        Sample(reference.image_id, row.image_bytes, reference.captions[0])
        for row, reference in zip(rows, data.references, strict=False)
    ]


def distribute(
    strategy: tf.distribute.Strategy, make_dataset: Callable[[batches.Rows], tf.data.Dataset]
) -> tf.distribute.DistributedDataset | tf.data.Dataset:
    """One input pipeline a worker, each delivering the rows of its own replicas (see
    `imgcap.data.batches`).

    Args:
        strategy: that will take the batches.
        make_dataset: makes the data set of some rows.

    Returns:
        What `strategy.run` takes.
    """

    def make(context: tf.distribute.InputContext) -> tf.data.Dataset:
        count = context.num_replicas_in_sync // context.num_input_pipelines
        return make_dataset(
            batches.Rows(context.input_pipeline_id * count, count, context.num_replicas_in_sync)
        )

    return strategy.distribute_datasets_from_function(make)
