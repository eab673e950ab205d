"""Features that the frozen encoder makes once, kept in TFRecord shards by encoder and data."""

import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from imgcap.data import image, records
from imgcap.data.manifest import Manifest, shard_paths
from imgcap.data.shards import damage_refused
from imgcap.errors import DataError
from imgcap.files.checked import read_checked, write_checked
from imgcap.files.locations import join
from imgcap.files.unfinished import remove_abandoned
from imgcap.host.progress import Progress
from imgcap.model.encoder import Encoder

NAME, SIZES = "features.json", "sizes"
FOLDER = "features"
# Large enough to fill the cores, small enough for the activations of a DenseNet201 in 2 GB.
ENCODED_AT_ONCE = 32
# The split whose images are stored in all views; the others are captioned as they are.
AUGMENTED_SPLIT = "train"

Encode = Callable[[tf.Tensor], tf.Tensor]


class Views(NamedTuple):
    """The views of a training image whose features are stored.

    Attributes:
        per_image: 1 is the image itself, 2 adds its mirror image, and each one more a random crop,
            mirrored in half of all cases.
        random_crop: share of the area that a crop keeps at least.
    """

    per_image: int = 1
    random_crop: float = 1.0


THE_IMAGE_ALONE = Views()


class StoredFeatures(NamedTuple):
    """Feature shards of some splits.

    Attributes:
        folder: holds them.
        shape: L and C of one view.
        views: stored of each training image, in the order of `Views`; other splits hold the image
            alone.
    """

    folder: Path
    shape: tuple[int, int]
    views: int

    def paths(self, manifest: Manifest, split: str) -> list[str]:
        """The shards of a split, named as the image shards they were made from."""
        return shard_paths(self.folder, manifest, split)


def store_features(
    encoder: Encoder,
    data_dir: Path | str,
    manifest: Manifest,
    cache_dir: Path,
    *,
    image_size: int,
    splits: tuple[str, ...],
    views: Views = THE_IMAGE_ALONE,
    skipping: tuple[str, ...] = (),
) -> StoredFeatures:
    """Encodes the images of some splits and writes the feature shards that are not there yet.

    Args:
        encoder: the frozen encoder.
        data_dir: location of the folder with the image shards.
        manifest: of the image shards.
        cache_dir: holds one folder for each combination of encoder, data and views.
        image_size: height and width, in pixels.
        splits: that are encoded.
        views: of a training image.
        skipping: splits in which to go on without records that cannot be read.

    Returns:
        The folder and the shape of the features.

    Raises:
        DataError: a shard is damaged.
    """
    folder = cache_dir / _key(encoder, manifest, views)
    folder.mkdir(parents=True, exist_ok=True)
    remove_abandoned(folder)
    shards = list(_shards(data_dir, folder, manifest, splits, views, skipping))
    pixels = tf.TensorSpec([None, image_size, image_size, 3])
    encode = tf.function(encoder.__call__, input_signature=[pixels], autograph=False)
    images = sum(manifest.images[split] for split in splits)
    sizes = _load_sizes(folder)
    missing = [shard for shard in shards if not _is_whole(shard.target, sizes)]
    with Progress("encode images", images, "images") as progress:
        progress.skip((len(shards) - len(missing)) * images // len(shards))
        # One pipeline for all shards of one kind: to set up the decoding of images takes longer
        # than it takes to decode a small shard.
        for (kind, skip_bad), group in itertools.groupby(missing, lambda shard: shard[2:]):
            alike = list(group)
            sources = [shard.source for shard in alike]
            batches = iter(_decoded(sources, image_size, kind, skip_bad))
            for shard in alike:
                with damage_refused([shard.source]):
                    encoded = _encoded(batches, encode, kind.per_image, progress)
                    records.write_shard(shard.target, encoded)
                # Another training may have stored others meanwhile.
                written = {shard.target.name: shard.target.stat().st_size}
                sizes = {**(_load_sizes(folder) or {}), **written}
                description = _description(encoder, manifest, views)
                write_checked(folder / NAME, {**description, SIZES: dict(sorted(sizes.items()))})
    return StoredFeatures(folder, encoder.features_shape, views.per_image)


def _shards(
    data_dir: Path | str,
    folder: Path,
    manifest: Manifest,
    splits: tuple[str, ...],
    views: Views,
    skipping: tuple[str, ...],
) -> Iterator["_Shard"]:
    """Yields the feature shards of some splits; see `store_features`."""
    for split in splits:
        kind = views if split == AUGMENTED_SPLIT else THE_IMAGE_ALONE
        for name in manifest.shards[split] if manifest.images[split] else ():
            yield _Shard(join(str(data_dir), name), folder / name, kind, split in skipping)


def _load_sizes(folder: Path) -> dict[str, int] | None:
    """The sizes of the shards that are whole; None if an earlier version of imgcap stored them."""
    if not (folder / NAME).exists():
        return {}
    try:
        return read_checked(folder / NAME, DataError, "").get(SIZES)
    except DataError:
        return {}  # All can be stored again.


def _is_whole(shard: Path, sizes: dict[str, int] | None) -> bool:
    """Whether a shard is there as it was written; cut off between records it would be read."""
    if not shard.exists():
        return False
    return sizes is None or sizes.get(shard.name) == shard.stat().st_size


def _description(encoder: Encoder, manifest: Manifest, views: Views) -> dict[str, Any]:
    """What features.json says about the shards beside it."""
    return {
        "data": manifest.fingerprint,
        "shape": encoder.features_shape,
        "views": views.per_image,
        "dtype": "float16",
    }


def _key(encoder: Encoder, manifest: Manifest, views: Views) -> str:
    parts = [encoder.fingerprint(), manifest.fingerprint]
    if views.per_image > 1:
        parts.append(f"{views.per_image} views")
    if views.per_image > 2:
        parts.append(f"crops of {views.random_crop}")
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]


class _Shard(NamedTuple):
    """A feature shard that is to be written.

    Attributes:
        source: location of the image shard.
        target: the feature shard.
        views: of each image.
        skip_bad: whether to go on without records that cannot be read.
    """

    source: str
    target: Path
    views: Views
    skip_bad: bool


def _decoded(
    sources: Sequence[str], image_size: int, views: Views, skip_bad: bool
) -> tf.data.Dataset:
    """Decodes the images of shards in all views, in order, in batches of one shard each.

    Args:
        sources: locations of the image shards.
        image_size: height and width, in pixels.
        views: of each image.
        skip_bad: whether to go on without records that cannot be read.

    Returns:
        A data set of (serialised record string [N], images float32 [N, views, H, W, 3]), N =
        ENCODED_AT_ONCE. The last batch of each shard, and no other, has empty records at its end.
    """

    def rows_of_shard(source: tf.Tensor) -> tf.data.Dataset:
        whole = tf.data.TFRecordDataset(source)
        readable = whole.ignore_errors() if skip_bad else whole
        # The reader knows by an empty record that the shard ends, without a look at the next one.
        ended = readable.concatenate(tf.data.Dataset.from_tensors(""))
        batches = ended.batch(ENCODED_AT_ONCE)
        return batches.map(
            lambda serialized: tf.pad(serialized, [[0, ENCODED_AT_ONCE - tf.shape(serialized)[0]]])
        ).unbatch()

    def decode(serialized: tf.Tensor) -> tf.Tensor:
        record = records.parse_example(serialized)
        pixels = image.decode(record.image_bytes, image_size)
        return _all_views(pixels, record.image_id, views)

    def decode_row(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        shape = [views.per_image, image_size, image_size, 3]
        images = tf.cond(
            tf.strings.length(serialized) > 0, lambda: decode(serialized), lambda: tf.zeros(shape)
        )
        return serialized, tf.ensure_shape(images, shape)

    paths = tf.constant([os.fsencode(source) for source in sources])
    rows = tf.data.Dataset.from_tensor_slices(paths).flat_map(rows_of_shard)
    decoded = rows.map(decode_row, num_parallel_calls=tf.data.AUTOTUNE)
    return decoded.batch(ENCODED_AT_ONCE, drop_remainder=True).prefetch(2)


def _encoded(
    batches: Iterator[tuple[tf.Tensor, tf.Tensor]], encode: Encode, views: int, progress: Progress
) -> Iterator[bytes]:
    """Yields the serialised records with features of the next shard.

    Args:
        batches: from `_decoded`, those of earlier shards taken.
        encode: images float32 [N, H, W, 3] to features.
        views: of each image.
        progress: is advanced by the images.
    """
    full = True
    while full:
        serialized, images = next(batches)
        real = int(tf.math.count_nonzero(tf.strings.length(serialized)))
        full = real == ENCODED_AT_ONCE
        if real:
            # A view at a time: all of a batch's would take a deep encoder that much more memory.
            seen = tf.unstack(images[:real], views, axis=1)
            features = np.stack([encode(view).numpy() for view in seen], axis=1)
            progress.advance(len(features))
            yield from map(records.with_features, serialized.numpy()[:real], features)


def _all_views(pixels: tf.Tensor, image_id: tf.Tensor, views: Views) -> tf.Tensor:
    """Makes the views of an image: float32 [H, W, 3] -> [views, H, W, 3].

    Crops are drawn by the image's name, so that one store serves the runs of all seeds.
    """
    seen = [pixels, tf.image.flip_left_right(pixels)][: views.per_image]
    name = tf.cast(tf.strings.to_hash_bucket_fast(image_id, 2**31 - 1), tf.int32)
    for number in range(len(seen), views.per_image):
        seed = tf.stack([name, number])
        seen.append(image.random_flip(image.random_crop(pixels, seed, views.random_crop), seed))
    return tf.stack(seen)
