"""Rows of nested tensors: how many there are, and copies of them that stand side by side."""

from typing import Any

import tensorflow as tf


def count_rows(nest: Any) -> tf.Tensor | int:
    """Length of the first axis of a nest of tensors, which all share it.

    Args:
        nest: any structure of at least one tensor, [N, ...] each.

    Returns:
        N: a number if it is known while the graph is made, else int32 [].
    """
    first = tf.nest.flatten(nest)[0]
    return tf.shape(first)[0] if first.shape[0] is None else first.shape[0]


def repeat_rows(nest: Any, copies: tf.Tensor | int) -> Any:
    """Repeats every row, the copies of a row side by side: rows a, b become a, a, b, b.

    Args:
        nest: any structure of tensors, [N, ...] each; it may be empty.
        copies: how often each row stands in the result.

    Returns:
        The same structure, [N * copies, ...] each.
    """
    return tf.nest.map_structure(lambda rows: tf.repeat(rows, copies, axis=0), nest)


def gather_rows(nest: Any, places: tf.Tensor) -> Any:
    """Takes some rows, in the order of their places: places 2, 0 of a, b, c make c, a.

    Args:
        nest: any structure of tensors, [N, ...] each; it may be empty.
        places: int32 or int64 [n], each in 0..N - 1.

    Returns:
        The same structure, [n, ...] each.
    """
    return tf.nest.map_structure(lambda rows: tf.gather(rows, places), nest)
