"""The TFRecord schema in one place: `to_example` and its reverse, `parse_example`.

One record is one image: its original bytes and all its captions, as text and as word numbers. Words
are normalised and numbered once, when the record is made, so no second tokenizer can drift away
from the first. Feature shards have the same schema with the encoder's output in place of the bytes.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from imgcap.files.locations import base_name, is_remote, open_file
from imgcap.files.unfinished import unfinished_file
from imgcap.host.disk_errors import told_of


class Record(NamedTuple):
    """One image with its captions, as stored.

    Attributes:
        image_id: the image's name.
        image_bytes: the original file.
        captions: N captions as people wrote them.
        tokens: N lists of word numbers, start token first.
    """

    image_id: str
    image_bytes: bytes
    captions: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...]


class ParsedRecord(NamedTuple):
    """One record inside a tf.data pipeline, or a batch of them (each shape after [B]).

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
        "captions": _bytes(*(caption.encode() for caption in record.captions)),
        "tokens": _ints(token for tokens in record.tokens for token in tokens),
        "token_counts": _ints(len(tokens) for tokens in record.tokens),
    }
    # deterministic: else the order of the fields depends on where the process lies in memory.
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString(
        deterministic=True
    )


def with_features(serialized: bytes, features: np.ndarray) -> bytes:
    """Replaces the image of a serialised record by the encoder's output.

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
    """Parses a record in the graph; the reverse of `to_example`.

    Args:
        serialized: string [], one tf.train.Example.

    Returns:
        The record's tensors.
    """
    fields = tf.io.parse_single_example(serialized, _FIELDS)
    return ParsedRecord(**{**fields, "tokens": tf.cast(fields["tokens"].to_tensor(), tf.int32)})


def parse_examples(serialized: tf.Tensor, max_tokens: int | None = None) -> ParsedRecord:
    """Parses many records at once, in the graph.

    Args:
        serialized: string [B], tf.train.Examples.
        max_tokens: T; None takes that of the longest caption.

    Returns:
        The records' tensors, with N that of the record with the most captions; captions that others
        lack are all padding.
    """
    fields = tf.io.parse_example(serialized, _FIELDS)
    tokens = tf.cast(fields["tokens"].to_tensor(shape=[None, None, max_tokens]), tf.int32)
    return ParsedRecord(**{**fields, "tokens": tokens, "captions": fields["captions"].to_tensor()})


def decode_features(features: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """Turns stored features into numbers.

    Args:
        features: string [...], from `parse_example`.
        shape: (L, C) of the encoder; before them the number of views, if there are several.

    Returns:
        float16 [..., *shape].
    """
    numbers = tf.io.decode_raw(features, tf.float16, little_endian=True)
    return tf.reshape(numbers, tf.concat([tf.shape(features), shape], axis=0))


def write_shard(path: Path | str, examples: Iterable[bytes]) -> int:
    """Writes a shard under another name, then renames it, so that no shard is ever half-written.

    One at an address is written on this machine and copied when it is whole.

    Args:
        path: the shard's final name, a path or an address.
        examples: serialised records.

    Returns:
        The number of records written.

    Raises:
        OSError: the disk is full or fails; names the shard.
    """
    if not is_remote(str(path)):
        with unfinished_file(Path(path)) as unfinished:
            return _write_records(unfinished, examples, Path(path))
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / base_name(str(path))
        count = _write_records(whole, examples, whole)
        with whole.open("rb") as source, told_of(path), open_file(str(path), "wb") as target:
            shutil.copyfileobj(source, target)
    return count


def _write_records(path: Path, examples: Iterable[bytes], final: Path) -> int:
    """Writes records to a file; an OSError names the final path. Returns their number."""
    count = 0
    with told_of(final):
        writer = tf.io.TFRecordWriter(os.fsencode(path))
    try:
        for example in examples:
            with told_of(final):
                writer.write(example)
            count += 1
    finally:
        with told_of(final):
            writer.close()
    return count
