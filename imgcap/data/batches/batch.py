"""Batches as tuples of tensors, the rows of them that a replica gets, and places in a run."""

from typing import NamedTuple

import tensorflow as tf


class Batch(NamedTuple):
    """One replica's rows of a global batch of training.

    Attributes:
        inputs: images float32 [B, H, W, 3] in 0..255, or stored features float16 [B, L, C].
        tokens: int32 [B, N, T], N captions an image, start token first, padded with 0; rows of
            nothing but padding stand for captions or images that are not there.
    """

    inputs: tf.Tensor
    tokens: tf.Tensor


class EvaluationBatch(NamedTuple):
    """One replica's rows of a global batch of evaluation.

    Attributes:
        number: int64 [B], place in the split; -1 in rows that only fill up the last batch.
        inputs: images float32 [B, H, W, 3] in 0..255, or stored features float16 [B, L, C].
    """

    number: tf.Tensor
    inputs: tf.Tensor


class Rows(NamedTuple):
    """The rows of each global batch that one input pipeline delivers.

    Of R replicas, replica r takes rows r, r + R, r + 2R, …

    Attributes:
        first: number of its first replica.
        fed: replicas that it feeds, one after the other.
        replicas: replicas in all.
    """

    first: int = 0
    fed: int = 1
    replicas: int = 1


ONE_REPLICA = Rows()


class Position(NamedTuple):
    """A place in a run, which alone decides what is read from there to the end of the epoch.

    Attributes:
        seed: of the run.
        epoch: counted from 0; each has an order of its own.
        start: global batches of the epoch to skip, those that were trained before an interruption.
    """

    seed: int = 0
    epoch: int = 0
    start: int = 0

    @property
    def epoch_seed(self) -> int:
        """The seed of all that is drawn in the epoch, in 0..2**31 - 1."""
        # A large odd step keeps the epochs of one seed away from those of its neighbours.
        return (self.seed + 1_000_003 * (self.epoch + 1)) % 2**31


def rows_each(images: int, rows: Rows) -> int:
    """Rows of a global batch that each replica gets."""
    return -(-images // rows.replicas)


def share_rows(batch: tuple[tf.Tensor, ...], rows: Rows) -> tf.data.Dataset:
    """Cuts a global batch, a multiple of the replicas, into slices for this pipeline's replicas."""
    slices = tf.data.Dataset.range(rows.first, rows.first + rows.fed)
    return slices.map(lambda replica: tuple(part[replica :: rows.replicas] for part in batch))
