"""Where the examples of a run come from: stored features or image shards, one input pipeline a worker."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from imgcap import features, manifest, pipeline
from imgcap.checkpoint import Progression
from imgcap.config import Config
from imgcap.encoder import Encoder
from imgcap.features import StoredFeatures
from imgcap.manifest import Manifest
from imgcap.records import parse_example
from imgcap.tensorboard import Sample

DEV = "dev"
IMAGES_A_DEV_BATCH = 32
# Dev images that are shown with their captions: enough to see what is learnt, few enough to look at.
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
    references: list[pipeline.Reference]
    steps_per_epoch: int
    images_per_batch: int

    def captions_per_image(self) -> float:
        """Of the training images, on average."""
        return self.prepared.captions["train"] / self.prepared.images["train"]


def make_training_data(config: Config, encoder: Encoder, replicas: int, prepared: Manifest) -> TrainingData:
    """Finds the examples; stores the encoder's features first where the config wants them.

    Args:
        config: of the run.
        encoder: used for stored features alone.
        replicas: in all.
        prepared: manifest of the image shards.

    Returns:
        The examples.

    Raises:
        DataError: a split is empty or a shard damaged.
    """
    plan, settings = plan_data(config, replicas, prepared), config.train
    data_dir, stored = plan.data_dir, None
    if settings.cache_features:
        cache_dir = Path(settings.cache_dir) if settings.cache_dir else data_dir / features.FOLDER
        stored = features.store_features(
            encoder, data_dir, prepared, cache_dir,
            image_size=config.model.image_size, splits=("train", DEV), views=settings.cached_views,
        )  # fmt: skip
    references = pipeline.references(manifest.shard_paths(data_dir, prepared, DEV))
    return plan._replace(stored=stored, references=references)


def plan_data(config: Config, replicas: int, prepared: Manifest) -> TrainingData:
    """What can be said of the examples without reading any: no features are stored and no references read.

    Args:
        config: of the run.
        replicas: in all.
        prepared: manifest of the image shards.

    Returns:
        The examples, `stored` and `references` left out.
    """
    settings = config.train
    captions_per_image = max(1, round(prepared.captions["train"] / prepared.images["train"]))
    images_per_batch = max(1, settings.batch_size // captions_per_image // replicas) * replicas
    if settings.cache_features:
        counts = {int(length): count for length, count in prepared.token_counts.items()}
        steps = pipeline.feature_steps(counts, settings.batch_size)
    else:
        steps = -(-prepared.images["train"] // images_per_batch)
    return TrainingData(prepared, Path(settings.data_dir), None, [], steps, images_per_batch)


def total_steps(config: Config, data: TrainingData) -> int:
    """Steps of the whole run if nothing stops it early."""
    steps = config.train.epochs * data.steps_per_epoch
    return min(steps, config.train.max_steps) if config.train.max_steps else steps


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
        return pipeline.training_features(
            data.stored.paths(data.prepared, "train"),
            captions=settings.batch_size,
            features_shape=data.stored.shape,
            views=data.stored.views,
            max_length=data.prepared.max_length,
            **position,
        )
    return pipeline.training_images(
        manifest.shard_paths(data.data_dir, data.prepared, "train"),
        images=data.images_per_batch,
        image_size=config.model.image_size,
        augment=settings.augment,
        **position,
    )


def dev_dataset(config: Config, data: TrainingData, rows: pipeline.Rows) -> tf.data.Dataset:
    """The dev split, once, in order.

    Args:
        config: of the run.
        data: its examples.
        rows: this pipeline's share of each global batch.

    Returns:
        A data set of `EvaluationBatch`.
    """
    images = -(-IMAGES_A_DEV_BATCH // rows.replicas) * rows.replicas
    if data.stored:
        paths = data.stored.paths(data.prepared, DEV)
        return pipeline.evaluation_features(paths, images=images, features_shape=data.stored.shape, rows=rows)
    paths = manifest.shard_paths(data.data_dir, data.prepared, DEV)
    return pipeline.evaluation_images(paths, images=images, image_size=config.model.image_size, rows=rows)


def samples(data: TrainingData) -> list[Sample]:
    """The first dev images, to be shown with their captions as training goes."""
    records = tf.data.TFRecordDataset([str(path) for path in manifest.shard_paths(data.data_dir, data.prepared, DEV)])
    rows = records.take(SAMPLES).map(parse_example).as_numpy_iterator()
    return [
        Sample(reference.image_id, row.image_bytes, reference.captions[0])
        for row, reference in zip(rows, data.references, strict=False)
    ]


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
