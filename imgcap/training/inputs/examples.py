"""The examples of a run: stored features or image shards, and one input pipeline a worker."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from imgcap.config import TrainConfig
from imgcap.data import batches, shards
from imgcap.data.manifest import Manifest, shard_paths
from imgcap.data.records import parse_example
from imgcap.files.locations import join
from imgcap.model.encoder import Encoder
from imgcap.run.checkpoints import Progression
from imgcap.training.inputs import stored_features
from imgcap.training.inputs.stored_features import StoredFeatures
from imgcap.training.machines.workers import Workers
from imgcap.training.watching.tensorboard import Sample

TRAIN, DEV = "train", "dev"
IMAGES_A_DEV_BATCH = 32
# Dev images that are shown with their captions: enough to see what is learnt, few enough to look
# at.
SAMPLES = 8


class TrainingData(NamedTuple):
    """The examples of a run.

    Attributes:
        manifest: of the image shards.
        data_dir: location of the folder with the image shards.
        image_size: height and width that the encoder sees, in pixels.
        steps_per_epoch: global batches in an epoch.
        images_per_batch: images in a global batch of images.
        stored: feature shards, if the run trains on stored features.
        references: of the dev split, in its order.
    """

    manifest: Manifest
    data_dir: str
    image_size: int
    steps_per_epoch: int
    images_per_batch: int
    stored: StoredFeatures | None = None
    references: tuple[shards.Reference, ...] = ()

    def captions_per_image(self) -> float:
        """Mean number of captions of a training image."""
        return self.manifest.captions[TRAIN] / self.manifest.images[TRAIN]

    def image_shards(self, split: str) -> list[str]:
        """The image shards of a split."""
        return shard_paths(self.data_dir, self.manifest, split)

    def shards(self, split: str) -> list[str]:
        """The shards of a split that the run reads: of stored features or of images."""
        return self.stored.paths(self.manifest, split) if self.stored else self.image_shards(split)


def make_training_data(
    config: TrainConfig, image_size: int, encoder: Encoder, workers: Workers, manifest: Manifest
) -> TrainingData:
    """Finds the examples, and stores the encoder's features first if the config says so.

    Args:
        config: of the run.
        image_size: height and width that the encoder sees, in pixels.
        encoder: used for stored features alone.
        workers: that train together; the chief alone stores features, if the others find them where
            it put them.
        manifest: of the image shards.

    Returns:
        The examples.

    Raises:
        DataError: a split is empty or a shard damaged.
    """
    plan = plan_data(config, image_size, manifest)

    def store() -> StoredFeatures:
        folder = Path(config.cache_dir or join(plan.data_dir, stored_features.FOLDER))
        return stored_features.store_features(
            encoder,
            plan.data_dir,
            manifest,
            folder,
            image_size=image_size,
            splits=(TRAIN, DEV),
            # Never in the dev split: scores of other images could not be compared.
            skipping=(TRAIN,) if config.skip_bad_records else (),
            views=stored_features.Views(config.cached_views, config.random_crop),
        )

    stored = _chief_first(workers, store) if config.cache_features else None
    references = tuple(shards.references(plan.image_shards(DEV)))
    return plan._replace(stored=stored, references=references)


def _chief_first(workers: Workers, store: Callable[[], StoredFeatures]) -> StoredFeatures:
    stored = workers.on_chief(store)
    return workers.together(lambda: stored or store())


def plan_data(config: TrainConfig, image_size: int, manifest: Manifest) -> TrainingData:
    """Describes the examples by their manifest alone, without reading or storing any.

    Args:
        config: of the run.
        image_size: height and width that the encoder sees, in pixels.
        manifest: of the image shards.

    Returns:
        The examples, without `stored` and `references`.
    """
    images = images_per_batch(manifest, config.batch_size)
    counts = {int(length): count for length, count in manifest.token_counts.items()}
    steps = _steps(config, images, manifest.images[TRAIN], counts)
    return TrainingData(manifest, config.data_dir, image_size, steps, images)


def images_per_batch(manifest: Manifest, batch_size: int) -> int:
    """Counts the images whose captions make up a global batch, at least 1.

    Args:
        manifest: of the image shards.
        batch_size: captions in a global batch.
    """
    captions_per_image = max(1, round(manifest.captions[TRAIN] / manifest.images[TRAIN]))
    return max(1, batch_size // captions_per_image)


def _row_is_a_caption(config: TrainConfig) -> bool:
    """Whether a batch's rows are captions of about one length, not images with all captions."""
    return config.cache_features and config.objective != "scst"


def _steps(
    config: TrainConfig, images_a_batch: int, images: int, token_counts: Mapping[int, int]
) -> int:
    """Global batches in an epoch of so many images, whose captions have lengths of such counts."""
    if _row_is_a_caption(config):
        return batches.feature_steps(token_counts, config.batch_size)
    return -(-images // images_a_batch)


def total_steps(config: TrainConfig, data: TrainingData) -> int:
    """Counts the steps of the whole run if nothing stops it early."""
    steps = config.epochs * data.steps_per_epoch
    return min(steps, config.max_steps) if config.max_steps else steps


class Readable(NamedTuple):
    """The part of the training split that can be read now.

    Attributes:
        steps: global batches in an epoch of it.
        lost: images that cannot be read.
        problems: one text for each damaged shard.
    """

    steps: int
    lost: int
    problems: list[str]


def survey(config: TrainConfig, data: TrainingData) -> Readable:
    """Reads the training shards to their ends and counts what the next epoch will find.

    Args:
        config: of the run.
        data: its examples.

    Returns:
        The readable part.
    """
    found = shards.survey(data.shards(TRAIN))
    images = sum(shard.records for shard in found)
    counts: Counter[int] = sum((Counter(shard.token_counts) for shard in found), Counter())
    return Readable(
        _steps(config, data.images_per_batch, images, counts),
        data.manifest.images[TRAIN] - images,
        shards.describe_damage(found),
    )


def training_dataset(
    config: TrainConfig, data: TrainingData, progression: Progression, rows: batches.Rows
) -> tf.data.Dataset:
    """Builds the input pipeline of the rest of the current epoch.

    Args:
        config: of the run.
        data: its examples.
        progression: epoch and batch to begin with.
        rows: this pipeline's share of each global batch.

    Returns:
        A data set of `Batch`.
    """
    position = batches.Position(config.seed, progression.epoch, progression.batch)
    examples = _examples(config, data)
    return batches.training_batches(
        data.shards(TRAIN), examples, position, rows, config.skip_bad_records
    )


def _examples(
    config: TrainConfig, data: TrainingData
) -> batches.DecodedImages | batches.EncodedImages | batches.EncodedCaptions:
    if not data.stored:
        return batches.DecodedImages(
            data.images_per_batch,
            data.image_size,
            config.augment,
            config.random_crop,
            config.data_service.split(",") if config.data_service else (),
        )
    shape, views = data.stored.shape, data.stored.views
    if _row_is_a_caption(config):
        return batches.EncodedCaptions(config.batch_size, shape, data.manifest.max_length, views)
    return batches.EncodedImages(data.images_per_batch, shape, views)


def reference_tokens(data: TrainingData) -> Iterator[np.ndarray]:
    """Reads the numbered captions of each training image: int32 [N, T], words, end, padding."""
    return shards.reference_tokens(data.image_shards(TRAIN))


def dev_dataset(data: TrainingData, rows: batches.Rows) -> tf.data.Dataset:
    """Builds the input pipeline of the dev split, once and in order.

    Args:
        data: the run's examples.
        rows: this pipeline's share of each global batch.

    Returns:
        A data set of `EvaluationBatch`.
    """
    paths, images = data.shards(DEV), IMAGES_A_DEV_BATCH
    if data.stored:
        shape = data.stored.shape
        return batches.evaluation_features(paths, images=images, features_shape=shape, rows=rows)
    return batches.evaluation_images(paths, images=images, image_size=data.image_size, rows=rows)


def samples(data: TrainingData) -> list[Sample]:
    """Reads the first dev images, to be shown with their captions in the course of training."""
    records = tf.data.TFRecordDataset([os.fsencode(path) for path in data.image_shards(DEV)])
    rows = records.take(SAMPLES).map(parse_example).as_numpy_iterator()
    return [
        Sample(reference.image_id, row.image_bytes, reference.captions[0])
        for row, reference in zip(rows, data.references, strict=False)
    ]


def distribute(
    strategy: tf.distribute.Strategy, make_dataset: Callable[[batches.Rows], tf.data.Dataset]
) -> tf.distribute.DistributedDataset | tf.data.Dataset:
    """Gives each worker an input pipeline that delivers the rows of its own replicas.

    Args:
        strategy: that will take the batches.
        make_dataset: makes the data set of some rows.

    Returns:
        Batches that `strategy.run` takes.
    """

    def make(context: tf.distribute.InputContext) -> tf.data.Dataset:
        fed = context.num_replicas_in_sync // context.num_input_pipelines
        first = context.input_pipeline_id * fed
        return make_dataset(batches.Rows(first, fed, context.num_replicas_in_sync))

    return strategy.distribute_datasets_from_function(make)
