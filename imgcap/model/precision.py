"""Precision policies within a `with` block: Keras' global one, and that of finished layers."""

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


@contextmanager
def computing_in(precision: str, layer: keras.layers.Layer) -> Iterator[None]:
    """Has a layer, with all layers inside it, compute in another precision.

    Variables are float32 under every policy, so no copy of them is made. A graph computes in what
    was in force when it was traced: in a `tf.function` the block must stand inside the function.

    Args:
        precision: name of a Keras policy, such as 'float32'.
        layer: built under any policy.

    Yields:
        Nothing; outputs have the compute dtype of the policy while the block lasts.
    """
    layers = layer._flatten_layers()  # There is no public way to all of them.
    before = [one.dtype_policy for one in layers]
    try:
        for one in layers:
            one.dtype_policy = precision
        yield
    finally:
        for one, policy in zip(layers, before, strict=True):
            one.dtype_policy = policy
