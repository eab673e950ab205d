"""What shards hold beside pixels: names, captions, numbered tokens, and whether they can be read to
their ends.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from imgcap.data.records import parse_example

# Files read at once: enough to hide one file's latency, few enough to keep the shuffle's memory in
# step.
CYCLE_LENGTH = 8


def read_records(
    paths: Sequence[Path], epoch_seed: int | None = None, skip_bad: bool = False
) -> tf.data.Dataset:
    """Serialised records, in the order of the shards or, for training, in one that `epoch_seed`
    decides.

    Args:
        paths: image or feature shards.
        epoch_seed: decides the order of the shards, which are then read several at once.
        skip_bad: whether to go on behind damage, with the next shard.

    Returns:
        A data set of string [].
    """
    files = tf.data.Dataset.from_tensor_slices([str(path) for path in paths])
    if epoch_seed is None:
        return tf.data.TFRecordDataset(files)
    shuffled = files.shuffle(len(paths), seed=epoch_seed)

    def read_file(path: tf.Tensor) -> tf.data.Dataset:
        # Where a record can't be read, nobody knows where the next one begins: the rest of its file
        # is lost.
        return (
            tf.data.TFRecordDataset(path).ignore_errors()
            if skip_bad
            else tf.data.TFRecordDataset(path)
        )

    # deterministic: the order of records must not hang on which file answers first, or no run could
    # be resumed.
    return shuffled.interleave(
        read_file,
        cycle_length=CYCLE_LENGTH,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )


class Reference(NamedTuple):
    """One image of a split as evaluation shows it.

    Attributes:
        image_id: its name.
        captions: what people wrote.
    """

    image_id: str
    captions: tuple[str, ...]


def references(paths: Sequence[Path]) -> list[Reference]:
    """The names and captions of a split, in the order of `EvaluationBatch.number`.

    Args:
        paths: image or feature shards.

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


class ShardSurvey(NamedTuple):
    """What of a shard can be read.

    Attributes:
        path: the shard.
        records: how many before its end or its damage.
        token_counts: tokens of a caption to the number of such captions in them.
        problem: what stopped the reading; empty at a sound end.
    """

    path: Path
    records: int
    token_counts: Mapping[int, int]
    problem: str


def survey(paths: Sequence[Path]) -> list[ShardSurvey]:
    """Reads shards to their ends without opening an image.

    Args:
        paths: image or feature shards.

    Returns:
        One entry a shard.
    """
    return [_survey(path) for path in paths]


def _survey(path: Path) -> ShardSurvey:
    lengths = tf.data.TFRecordDataset(str(path)).map(
        lambda record: tf.math.count_nonzero(parse_example(record).tokens, axis=1)
    )
    records, counts = 0, Counter()
    try:
        for row in lengths.as_numpy_iterator():
            records += 1
            counts.update(row.tolist())
    except tf.errors.DataLossError as error:
        return ShardSurvey(
            path, records, counts, error.message.partition(" [Op:")[0].rpartition("}} ")[2]
        )
    return ShardSurvey(path, records, counts, "")


def reference_tokens(paths: Sequence[Path]) -> Iterator[np.ndarray]:
    """The numbered captions of each image of a split.

    Args:
        paths: image or feature shards.

    Yields:
        int32 [N, T], words, end, padding.
    """
    yield from (
        read_records(paths)
        .map(lambda record: parse_example(record).tokens[:, 1:])
        .as_numpy_iterator()
    )
