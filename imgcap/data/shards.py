"""Reading shards beside their pixels: records, captions, numbered tokens, and what is damaged."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from imgcap.data.records import parse_example
from imgcap.errors import DataError
from imgcap.files.locations import base_name

# Files read at once: enough to hide one file's latency, few enough to keep the shuffle's memory in
# step.
CYCLE_LENGTH = 8

PREPARE_AGAIN = "run imgcap-prepare into a new --output_dir"
"""The remedy if a shard is damaged."""


def read_records(
    paths: Sequence[str], epoch_seed: int | None = None, skip_bad: bool = False
) -> tf.data.Dataset:
    """Reads serialised records, in the order of the shards or, for training, in a shuffled one.

    Args:
        paths: locations of image or feature shards.
        epoch_seed: decides the order of the shards, which are then read several at once; None keeps
            the given order.
        skip_bad: whether to leave out the rest of a shard after damage; used with `epoch_seed`
            alone.

    Returns:
        A data set of string [].
    """
    files = tf.data.Dataset.from_tensor_slices([os.fsencode(path) for path in paths])
    if epoch_seed is None:
        return tf.data.TFRecordDataset(files)
    shuffled = files.shuffle(len(paths), seed=epoch_seed)

    def read_file(path: tf.Tensor) -> tf.data.Dataset:
        # After a record that cannot be read, nobody knows where the next one begins: the rest of
        # its file is lost.
        return (
            tf.data.TFRecordDataset(path).ignore_errors()
            if skip_bad
            else tf.data.TFRecordDataset(path)
        )

    # deterministic: the order of records must not depend on which file answers first, or no run
    # could be resumed.
    return shuffled.interleave(
        read_file,
        cycle_length=CYCLE_LENGTH,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )


class Reference(NamedTuple):
    """Name and captions of one image of a split.

    Attributes:
        image_id: its name.
        captions: what people wrote.
    """

    image_id: str
    captions: tuple[str, ...]


def refuse_missing(found: int, expected: int, paths: Sequence[str]) -> None:
    """Raises DataError if shards hold another number of images than their manifest says.

    A shard that was cut off between two records is read without an error, and manifests of earlier
    versions do not say how long it was.

    Args:
        found: images that were read.
        expected: by the manifest.
        paths: of the shards.
    """
    if found != expected:
        folder = paths[0][: -len(base_name(paths[0])) - 1]
        names = ", ".join(map(base_name, paths))
        raise DataError(
            f"{folder} has {found} images in {names}, its manifest says {expected}: a "
            f"shard is damaged: {PREPARE_AGAIN}"
        )


@tf.autograph.experimental.do_not_convert
def references(paths: Sequence[str]) -> list[Reference]:
    """Reads the names and captions of a split, in the order of `EvaluationBatch.number`.

    Args:
        paths: locations of image or feature shards.

    Returns:
        One entry an image.
    """
    rows = read_records(paths).map(
        lambda record: parse_example(record)._replace(image_bytes="", features="")
    )
    return [
        Reference(row.image_id.decode(), tuple(caption.decode() for caption in row.captions))
        for row in rows.as_numpy_iterator()
    ]


def reference_tokens(paths: Sequence[str], skip_bad: bool = False) -> Iterator[np.ndarray]:
    """Reads the numbered captions of each image of a split, in its order.

    Args:
        paths: locations of image or feature shards.
        skip_bad: whether to leave out the rest of a shard after damage.

    Yields:
        int32 [N, T], words, end, padding.
    """
    for some in [[path] for path in paths] if skip_bad else [paths]:
        records = read_records(some)
        readable = records.ignore_errors() if skip_bad else records
        yield from (
            readable.map(lambda record: parse_example(record).tokens[:, 1:]).as_numpy_iterator()
        )


class ShardSurvey(NamedTuple):
    """The readable part of a shard, and what ended it.

    Attributes:
        path: location of the shard.
        records: how many can be read before its end or its damage.
        token_counts: tokens of a caption to the number of such captions in them.
        problem: what stopped the reading; empty if the shard is whole.
    """

    path: str
    records: int
    token_counts: Mapping[int, int]
    problem: str


def survey(paths: Sequence[str]) -> list[ShardSurvey]:
    """Reads shards to their ends without decoding an image.

    Args:
        paths: locations of image or feature shards.

    Returns:
        One entry a shard.
    """
    return [_survey(path) for path in paths]


def _survey(path: str) -> ShardSurvey:
    lengths = tf.data.TFRecordDataset(os.fsencode(path)).map(
        lambda record: tf.math.count_nonzero(parse_example(record).tokens, axis=1)
    )
    records, problem = 0, ""
    counts: Counter[int] = Counter()
    try:
        for row in lengths.as_numpy_iterator():
            records += 1
            counts.update(row.tolist())
    except tf.errors.DataLossError as error:
        problem = error.message.partition(" [Op:")[0].rpartition("}} ")[2]
    return ShardSurvey(path, records, counts, problem)


def describe_damage(surveys: Iterable[ShardSurvey]) -> list[str]:
    """Says of each damaged shard among some where it breaks off, and how that shows."""
    return [
        f"{shard.path} after record {shard.records} ({shard.problem})"
        for shard in surveys
        if shard.problem
    ]


@contextmanager
def damage_refused(paths: Sequence[str], remedy: str = PREPARE_AGAIN) -> Iterator[None]:
    """Turns TensorFlow's error about a damaged shard, which names no file, into one that does.

    Args:
        paths: shards that are read in the context; after an error they are read once more, to find
            the damaged ones.
        remedy: what the user should do.

    Raises:
        DataError: a shard is damaged.
    """
    try:
        yield
    except tf.errors.DataLossError as error:
        # A shard that was written anew meanwhile shows no damage any more.
        found = ", ".join(describe_damage(survey(paths))) or error.message[:100]
        raise DataError(f"{found}: a shard is damaged: {remedy}") from None
