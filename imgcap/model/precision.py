"""Keras' precision policy within a `with` block."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Sets the global precision policy, and restores the previous one afterwards.

    Args:
        name: of a Keras policy, such as 'float32' or 'mixed_bfloat16'.

    Yields:
        Nothing; layers made in the block get the policy.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
