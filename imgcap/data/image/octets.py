"""Bytes and integers of a file, read in the graph.

All functions are total: beyond the end of a file zeros are read. `data` is a whole file as a scalar
string tensor; positions, sizes and numbers are int64 scalars.

Few ops are used: starting a data set takes 0.3 ms for each, whether it will run or not.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def apart(function: Callable[..., Any]) -> tf.types.experimental.PolymorphicFunction:
    """Decorates a function so that it stays one op in the graphs that call it.

    A branch that is not taken still costs a little for each op in it: a small JPEG that decodes in
    315 µs takes 415 µs in all with the rare branches kept apart, and 520 µs without.
    """
    return tf.function(function, autograph=False, experimental_attributes={"_noinline": True})


def window(data: tf.Tensor, position: tf.Tensor | int, size: tf.Tensor | int) -> tf.Tensor:
    """Cuts bytes out of a file.

    Args:
        data: string [].
        position: of the first byte, not negative.
        size: how many bytes, not negative.

    Returns:
        string [], up to `size` bytes; fewer, or none, at the end of the file.
    """
    end = tf.strings.length(data)
    return tf.strings.substr(
        data, tf.minimum(tf.cast(position, tf.int64), tf.cast(end, tf.int64)), size
    )


def octets(data: tf.Tensor, position: tf.Tensor | int, count: int) -> tf.Tensor:
    """The `count` bytes from `position`, zeros beyond the end: uint8 [count]."""
    return tf.io.decode_raw(window(data, position, count), tf.uint8, fixed_length=count)


def integers(
    data: tf.Tensor,
    position: tf.Tensor | int,
    count: int,
    dtype: tf.DType = tf.uint8,
    big: bool = False,
) -> list[tf.Tensor]:
    """Reads integers of one type that follow each other.

    Args:
        data: string [].
        position: of the first byte.
        count: how many.
        dtype: of the integers in the file.
        big: whether they are big-endian.

    Returns:
        `count` times int64 []; zeros beyond the end.
    """
    size = count * dtype.size
    values = tf.io.decode_raw(window(data, position, size), dtype, not big, fixed_length=size)
    return tf.unstack(tf.cast(values, tf.int64))


def weighted(parts: tf.Tensor, weights: tf.Tensor | list[int]) -> tf.Tensor:
    """Puts numbers together from their parts: [..., n] times the weights, summed, int64 [...].

    Worked example: the little-endian bytes [0x2C, 0x01] with weights [1, 256] are 44 + 256 = 300.
    """
    return tf.reduce_sum(tf.cast(parts, tf.int64) * weights, axis=-1)
