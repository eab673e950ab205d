"""The frozen encoder runs once: its features go to TFRecord shards, tied to encoder and data by fingerprint."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from imgcap import files, image, manifest, records
from imgcap.encoder import Encoder
from imgcap.errors import DataError
from imgcap.manifest import Manifest
from imgcap.progress import Progress

NAME = "features.json"
FOLDER = "features"
# Large enough to fill the cores, small enough for the activations of a DenseNet201 in 2 GB.
ENCODED_AT_ONCE = 32


class StoredFeatures(NamedTuple):
    """Feature shards of some splits.

    Attributes:
        folder: where they are.
        shape: [L, C].
    """

    folder: Path
    shape: tuple[int, int]

    def paths(self, prepared: Manifest, split: str) -> list[Path]:
        """The shards of a split, named as the image shards they were made from."""
        return manifest.shard_paths(self.folder, prepared, split)


def store_features(
    encoder: Encoder,
    data_dir: Path,
    prepared: Manifest,
    cache_dir: Path,
    image_size: int,
    splits: tuple[str, ...],
    skipping: tuple[str, ...] = (),
) -> StoredFeatures:
    """Makes the feature shards that are not there yet.

    Args:
        encoder: the frozen encoder.
        data_dir: holds the image shards.
        prepared: their manifest.
        cache_dir: holds one folder a pair of encoder and data.
        image_size: pixels, height and width.
        splits: what to encode.
        skipping: splits in which to go on without records that can't be read.

    Returns:
        The folder and the shape of the features.

    Raises:
        DataError: a shard is damaged.
    """
    key = hashlib.sha256(f"{encoder.fingerprint()} {prepared.fingerprint}".encode()).hexdigest()[:16]
    folder = cache_dir / key
    folder.mkdir(parents=True, exist_ok=True)
    shape = encoder.features_shape
    names = {name: split for split in splits for name in prepared.shards[split] if prepared.images[split]}
    encode = tf.function(encoder.__call__, input_signature=[tf.TensorSpec([None, image_size, image_size, 3])])
    images = sum(prepared.images[split] for split in splits)
    with Progress("encode images", images, "images") as progress:
        for name, split in names.items():
            if (folder / name).exists():
                progress.skip(images // len(names))
                continue
            _store_shard(encode, data_dir / name, folder / name, image_size, progress, split in skipping)
    if not (folder / NAME).exists():
        files.write_json(folder / NAME, {"data": prepared.fingerprint, "shape": shape, "dtype": "float16"})
    return StoredFeatures(folder, shape)


def _store_shard(
    encode: tf.types.experimental.GenericFunction,
    source: Path,
    target: Path,
    image_size: int,
    progress: Progress,
    skip_bad: bool,
) -> None:
    def decode_row(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return serialized, image.decode(records.parse_example(serialized).image_bytes, image_size)

    whole = tf.data.TFRecordDataset(str(source))
    decoded = (whole.ignore_errors() if skip_bad else whole).map(decode_row, num_parallel_calls=tf.data.AUTOTUNE)
    batches = decoded.batch(ENCODED_AT_ONCE).prefetch(2)

    def examples() -> Iterator[bytes]:
        for serialized, images in batches:
            features = encode(images).numpy()
            progress.advance(len(features))
            yield from map(records.with_features, serialized.numpy(), features)

    try:
        records.write_shard(target, examples())
    except tf.errors.DataLossError as error:
        raise DataError(f"{source} is damaged ({error.message[:80]}): run imgcap-prepare into a new --output_dir") from None
