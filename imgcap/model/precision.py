"""Keras' precision policy for a stretch of code."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Puts a policy in force for the layers made meanwhile, and the one before it back afterwards.

    Args:
        name: of a Keras policy, such as 'float32' or 'mixed_bfloat16'.

    Yields:
        Nothing.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
