"""Batches computed in slices of rows, so that memory or sizes of operations have a bound."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

Outputs = Mapping[str, tf.Tensor]


class Slices(NamedTuple):
    """How a batch is cut: wide slices first, then what is left in narrow ones.

    Attributes:
        wide: rows of a wide slice.
        narrow: rows of the others; the last one may have fewer.
        group: wide slices come in groups of so many.
        at_once: slices that may be computed at the same time.
    """

    wide: int
    narrow: int
    group: int = 1
    at_once: int = 1


def in_slices(
    compute: Callable[..., Outputs],
    rows: Sequence[tf.Tensor],
    outputs: Mapping[str, tf.TensorSpec],
    slices: Slices,
) -> dict[str, tf.Tensor]:
    """Computes a batch slice by slice, in one loop; an empty batch has no slices.

    Args:
        compute: slices of `rows` → outputs of as many rows.
        rows: inputs, each of B rows.
        outputs: name → type and shape [None, ...] of each output.
        slices: how the batch is cut.

    Returns:
        The outputs of the whole batch.
    """
    total = tf.shape(rows[0])[0]
    wide = total // (slices.wide * slices.group) * slices.group  # how many are wide
    left = total - slices.wide * wide
    count = wide + -(-left // slices.narrow)
    arrays = {
        name: tf.TensorArray(spec.dtype, count, element_shape=spec.shape, infer_shape=False)
        for name, spec in outputs.items()
    }

    # One loop for both widths: every call of `compute` in a graph costs memory for its constants
    # once more.
    def body(number: tf.Tensor, arrays: dict) -> tuple[tf.Tensor, dict]:
        is_wide = number < wide
        start = slices.wide * tf.minimum(number, wide) + slices.narrow * tf.maximum(
            number - wide, 0
        )
        stop = tf.minimum(start + tf.where(is_wide, slices.wide, slices.narrow), total)
        found = compute(*(each[start:stop] for each in rows))
        return number + 1, {
            name: array.write(number, found[name]) for name, array in arrays.items()
        }

    _, arrays = tf.while_loop(
        lambda number, _: number < count,
        body,
        [0, arrays],
        parallel_iterations=slices.at_once,
    )
    return {name: array.concat() for name, array in arrays.items()}
