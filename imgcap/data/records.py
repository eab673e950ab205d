"""The TFRecord schema in one place: `to_example` and `parse_example` side by side, and the shards'
names.

One record an image: its original bytes and all its captions, as text and as word numbers. Words are
normalised and numbered once, when the record is made, so no second tokenizer can drift away from
the first. Feature shards have the same schema with the encoder's output in place of the bytes.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf


class Record(NamedTuple):
    """One image with its captions, as stored.

    Attributes:
        image_id: the image's name.
        image_bytes: the original file.
        height: pixels, as stored in the file.
        width: pixels, as stored in the file.
        captions: N captions as people wrote them.
        tokens: N lists of word numbers, start token first.
    """

    image_id: str
    image_bytes: bytes
    height: int
    width: int
    captions: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...]


class ParsedRecord(NamedTuple):
    """One record inside a tf.data pipeline, or a batch of them (each shape behind [B]).

    Attributes:
        image_id: string [].
        image_bytes: string []; empty in feature shards.
        features: string [], the encoder's output (see `decode_features`); empty in image shards.
        captions: string [N].
        tokens: int32 [N, T], padded with 0.
    """

    image_id: tf.Tensor
    image_bytes: tf.Tensor
    features: tf.Tensor
    captions: tf.Tensor
    tokens: tf.Tensor


def _bytes(*values: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def _ints(values: Iterable[int]) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def to_example(record: Record) -> bytes:
    """Serialises a record.

    Args:
        record: what to store.

    Returns:
        A serialised tf.train.Example.
    """
    feature = {
        "image_id": _bytes(record.image_id.encode()),
        "image_bytes": _bytes(record.image_bytes),
        "height": _ints([record.height]),
        "width": _ints([record.width]),
        "captions": _bytes(*(caption.encode() for caption in record.captions)),
        "tokens": _ints(token for tokens in record.tokens for token in tokens),
        "token_counts": _ints(len(tokens) for tokens in record.tokens),
    }
    # deterministic: else the order of the fields hangs on where the process lies in memory.
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString(
        deterministic=True
    )


def with_features(serialized: bytes, features: np.ndarray) -> bytes:
    """An image record with the encoder's output in place of the image.

    Args:
        serialized: a tf.train.Example by `to_example`.
        features: float [...], kept as float16.

    Returns:
        A serialised tf.train.Example.
    """
    example = tf.train.Example.FromString(serialized)
    fields = example.features.feature
    del fields["image_bytes"]
    # Raw little-endian bytes: half the size of a float list.
    fields["features"].CopyFrom(_bytes(features.astype("<f2").tobytes()))
    return example.SerializeToString(deterministic=True)


_FIELDS = {
    "image_id": tf.io.FixedLenFeature([], tf.string),
    "image_bytes": tf.io.FixedLenFeature([], tf.string, default_value=""),
    "captions": tf.io.RaggedFeature(tf.string),
    "tokens": tf.io.RaggedFeature(
        tf.int64, value_key="tokens", partitions=[tf.io.RaggedFeature.RowLengths("token_counts")]
    ),
    "features": tf.io.FixedLenFeature([], tf.string, default_value=""),
}


def parse_example(serialized: tf.Tensor) -> ParsedRecord:
    """The reverse of `to_example`, as a graph.

    Args:
        serialized: string [], one tf.train.Example.

    Returns:
        The record's tensors.
    """
    fields = tf.io.parse_single_example(serialized, _FIELDS)
    return ParsedRecord(**{**fields, "tokens": tf.cast(fields["tokens"].to_tensor(), tf.int32)})


def parse_examples(serialized: tf.Tensor, max_tokens: int | None = None) -> ParsedRecord:
    """As `parse_example`, for many records at once.

    Args:
        serialized: string [B], tf.train.Examples.
        max_tokens: T; None takes the longest caption's.

    Returns:
        The records' tensors; captions that a record lacks to N are all padding.
    """
    fields = tf.io.parse_example(serialized, _FIELDS)
    tokens = tf.cast(fields["tokens"].to_tensor(shape=[None, None, max_tokens]), tf.int32)
    return ParsedRecord(**{**fields, "tokens": tokens, "captions": fields["captions"].to_tensor()})


def decode_features(features: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """Stored features as numbers.

    Args:
        features: string [...], from `parse_example`.
        shape: [L, C], what the encoder makes; with the number of views before it where there are
            several.

    Returns:
        float16 of that shape, behind [...].
    """
    numbers = tf.io.decode_raw(features, tf.float16, little_endian=True)
    return tf.reshape(numbers, tf.concat([tf.shape(features), shape], axis=0))


def shard_path(folder: Path, split: str, index: int, count: int) -> Path:
    """The name of one shard: `train-00003-of-00016.tfrecord`."""
    return folder / f"{split}-{index:05d}-of-{count:05d}.tfrecord"


def write_shard(path: Path, examples: Iterable[bytes]) -> int:
    """Writes a shard beside its name, then renames: a shard that is there is whole.

    Args:
        path: the shard's final name.
        examples: serialised records.

    Returns:
        The number of records written.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    count = 0
    with tf.io.TFRecordWriter(str(unfinished)) as writer:
        for example in examples:
            writer.write(example)
            count += 1
    unfinished.replace(path)
    return count
