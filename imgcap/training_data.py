"""Where the examples of a run come from: stored features or image shards, one input pipeline a worker."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from imgcap import features, manifest, pipeline
from imgcap.checkpoint import Progression
from imgcap.config import Config
from imgcap.encoder import Encoder
from imgcap.features import StoredFeatures
from imgcap.manifest import Manifest
from imgcap.workers import Workers

DEV = "dev"
IMAGES_A_DEV_BATCH = 32


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
    references: list[pipeline.Reference]
    steps_per_epoch: int
    images_per_batch: int

    def captions_per_image(self) -> float:
        """Of the training images, on average."""
        return self.prepared.captions["train"] / self.prepared.images["train"]


def make_training_data(config: Config, encoder: Encoder, workers: Workers, prepared: Manifest) -> TrainingData:
    """Finds the examples; stores the encoder's features first where the config wants them.

    Args:
        config: of the run.
        encoder: used for stored features alone.
        workers: that train together; the chief alone stores features, if the others find them where it put them.
        prepared: manifest of the image shards.

    Returns:
        The examples.

    Raises:
        DataError: a split is empty or a shard damaged.
    """
    data_dir, settings = Path(config.train.data_dir), config.train

    def store() -> StoredFeatures:
        cache_dir = Path(settings.cache_dir) if settings.cache_dir else data_dir / features.FOLDER
        return features.store_features(
            encoder, data_dir, prepared, cache_dir,
            image_size=config.model.image_size, splits=("train", DEV), views=settings.cached_views,
        )  # fmt: skip

    stored = _chief_first(workers, store) if settings.cache_features else None
    captions_per_image = max(1, round(prepared.captions["train"] / prepared.images["train"]))
    images_per_batch = max(1, settings.batch_size // captions_per_image)
    if stored and settings.objective == "cross_entropy":
        counts = {int(length): count for length, count in prepared.token_counts.items()}
        steps = pipeline.feature_steps(counts, settings.batch_size)
    else:
        steps = -(-prepared.images["train"] // images_per_batch)
    references = pipeline.references(manifest.shard_paths(data_dir, prepared, DEV))
    return TrainingData(prepared, data_dir, stored, references, steps, images_per_batch)


def _chief_first(workers: Workers, store: Callable[[], StoredFeatures]) -> StoredFeatures:
    stored = workers.on_chief(store)
    return workers.together(lambda: stored or store())


def training_dataset(
    config: Config, data: TrainingData, progression: Progression, rows: pipeline.Rows
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
    position = {"seed": settings.seed, "epoch": progression.epoch, "start": progression.batch, "rows": rows}
    if data.stored:
        paths = data.stored.paths(data.prepared, "train")
        position |= {"features_shape": data.stored.shape, "views": data.stored.views}
        if settings.objective == "scst":
            return pipeline.training_encoded(paths, images=data.images_per_batch, **position)
        return pipeline.training_features(
            paths, captions=settings.batch_size, max_length=data.prepared.max_length, **position
        )
    return pipeline.training_images(
        manifest.shard_paths(data.data_dir, data.prepared, "train"),
        images=data.images_per_batch,
        image_size=config.model.image_size,
        augment=settings.augment,
        **position,
    )


def reference_tokens(data: TrainingData) -> Iterator[np.ndarray]:
    """The numbered captions of each training image: int32 [N, T], words, end, padding."""
    return pipeline.reference_tokens(manifest.shard_paths(data.data_dir, data.prepared, "train"))


def dev_dataset(config: Config, data: TrainingData, rows: pipeline.Rows) -> tf.data.Dataset:
    """The dev split, once, in order.

    Args:
        config: of the run.
        data: its examples.
        rows: this pipeline's share of each global batch.

    Returns:
        A data set of `EvaluationBatch`.
    """
    if data.stored:
        paths = data.stored.paths(data.prepared, DEV)
        return pipeline.evaluation_features(paths, images=IMAGES_A_DEV_BATCH, features_shape=data.stored.shape, rows=rows)
    paths = manifest.shard_paths(data.data_dir, data.prepared, DEV)
    return pipeline.evaluation_images(paths, images=IMAGES_A_DEV_BATCH, image_size=config.model.image_size, rows=rows)


def distribute(
    strategy: tf.distribute.Strategy, make_dataset: Callable[[pipeline.Rows], tf.data.Dataset]
) -> tf.distribute.DistributedDataset | tf.data.Dataset:
    """One input pipeline a worker, each delivering the rows of its own replicas (see `imgcap.pipeline`).

    Args:
        strategy: that will take the batches.
        make_dataset: makes the data set of some rows.

    Returns:
        What `strategy.run` takes.
    """

    def make(context: tf.distribute.InputContext) -> tf.data.Dataset:
        count = context.num_replicas_in_sync // context.num_input_pipelines
        return make_dataset(pipeline.Rows(context.input_pipeline_id * count, count, context.num_replicas_in_sync))

    return strategy.distribute_datasets_from_function(make)
