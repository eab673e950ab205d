"""The frozen encoder runs once: its features go to TFRecord shards, tied to encoder and data by
fingerprint.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from imgcap import files
from imgcap.data import image, manifest, records
from imgcap.data.manifest import Manifest
from imgcap.errors import DataError
from imgcap.model.encoder import Encoder
from imgcap.progress import Progress

NAME = "features.json"
FOLDER = "features"
# Large enough to fill the cores, small enough for the activations of a DenseNet201 in 2 GB.
ENCODED_AT_ONCE = 32
# The split whose images are stored in all views; the others are captioned as they are.
AUGMENTED_SPLIT = "train"

Encode = Callable[[tf.Tensor], tf.Tensor]


class Views(NamedTuple):
    """Which features of a training image are stored.

    Attributes:
        count: 1 is the image itself, 2 adds its mirror image, and each one more a random crop,
            mirrored in half of all cases.
        random_crop: share of the area that a crop keeps at least.
    """

    count: int = 1
    random_crop: float = 1.0


THE_IMAGE_ALONE = Views()


class StoredFeatures(NamedTuple):
    """Feature shards of some splits.

    Attributes:
        folder: where they are.
        shape: [L, C], of one view.
        views: how many of a training image, in the order of `Views`; other splits hold the image
            alone.
    """

    folder: Path
    shape: tuple[int, int]
    views: int

    def paths(self, prepared: Manifest, split: str) -> list[Path]:
        """The shards of a split, named as the image shards they were made from."""
        return manifest.shard_paths(self.folder, prepared, split)


def store_features(
    encoder: Encoder,
    data_dir: Path,
    prepared: Manifest,
    cache_dir: Path,
    *,
    image_size: int,
    splits: tuple[str, ...],
    views: Views = THE_IMAGE_ALONE,
    skipping: tuple[str, ...] = (),
) -> StoredFeatures:
    """Makes the feature shards that are not there yet.

    Args:
        encoder: the frozen encoder.
        data_dir: holds the image shards.
        prepared: their manifest.
        cache_dir: holds one folder a triple of encoder, data and views.
        image_size: pixels, height and width.
        splits: what to encode.
        views: of a training image.
        skipping: splits in which to go on without records that can't be read.

    Returns:
        The folder and the shape of the features.

    Raises:
        DataError: a shard is damaged.
    """
    folder = cache_dir / _key(encoder, prepared, views)
    folder.mkdir(parents=True, exist_ok=True)
    shards = [
        (split, name)
        for split in splits
        for name in prepared.shards[split]
        if prepared.images[split]
    ]
    encode = tf.function(
        encoder.__call__, input_signature=[tf.TensorSpec([None, image_size, image_size, 3])]
    )
    images = sum(prepared.images[split] for split in splits)
    with Progress("encode images", images, "images") as progress:
        for split, name in shards:
            if (folder / name).exists():
                progress.skip(images // len(shards))
                continue
            seen = views if split == AUGMENTED_SPLIT else THE_IMAGE_ALONE
            _store_shard(
                encode,
                data_dir / name,
                folder / name,
                image_size,
                seen,
                progress,
                split in skipping,
            )
    if not (folder / NAME).exists():
        description = {
            "data": prepared.fingerprint,
            "shape": encoder.features_shape,
            "views": views.count,
            "dtype": "float16",
        }
        files.write_json(folder / NAME, description)
    return StoredFeatures(folder, encoder.features_shape, views.count)


def _key(encoder: Encoder, prepared: Manifest, views: Views) -> str:
    parts = [encoder.fingerprint(), prepared.fingerprint]
    if views.count > 1:
        parts.append(f"{views.count} views")
    if views.count > 2:
        parts.append(f"crops of {views.random_crop}")
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]


def _all_views(pixels: tf.Tensor, image_id: tf.Tensor, views: Views) -> tf.Tensor:
    """[H, W, 3] → [views, H, W, 3]. Crops are drawn by the image's name: one store serves the runs
    of all seeds.
    """
    seen = [pixels, tf.image.flip_left_right(pixels)][: views.count]
    name = tf.cast(tf.strings.to_hash_bucket_fast(image_id, 2**31 - 1), tf.int32)
    for number in range(len(seen), views.count):
        seed = tf.stack([name, number])
        seen.append(image.random_flip(image.random_crop(pixels, seed, views.random_crop), seed))
    return tf.stack(seen)


def _store_shard(
    encode: Encode,
    source: Path,
    target: Path,
    image_size: int,
    views: Views,
    progress: Progress,
    skip_bad: bool,
) -> None:
    def decode_row(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        record = records.parse_example(serialized)
        return serialized, _all_views(
            image.decode(record.image_bytes, image_size), record.image_id, views
        )

    whole = tf.data.TFRecordDataset(str(source))
    decoded = (whole.ignore_errors() if skip_bad else whole).map(
        decode_row, num_parallel_calls=tf.data.AUTOTUNE
    )
    batches = decoded.batch(ENCODED_AT_ONCE).prefetch(2)

    def examples() -> Iterator[bytes]:
        for serialized, images in batches:
            # A view at a time: all of a batch's would take a deep encoder that much more memory.
            features = np.stack(
                [encode(view).numpy() for view in tf.unstack(images, views.count, axis=1)], axis=1
            )
            progress.advance(len(features))
            yield from map(records.with_features, serialized.numpy(), features)

    try:
        records.write_shard(target, examples())
    except tf.errors.DataLossError as error:
        raise DataError(
            f"{source} is damaged ({error.message[:80]}): run imgcap-prepare into a new "
            "--output_dir"
        ) from None
