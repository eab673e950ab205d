"""Recomputation changes what is kept, not what comes out: same features, same gradients, more
convolutions.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from imgcap.model.encoder import Encoder
from imgcap.model.recompute import recomputing

SIZE = 32


def residual(blocks: int) -> keras.Model:
    """Residual blocks with BatchNorm whose statistics are no batch's, so that inference differs
    from training.
    """
    keras.utils.set_random_seed(1)
    inputs = keras.Input((SIZE, SIZE, 3))
    values = keras.layers.Conv2D(8, 3, strides=2, padding="same", name="stem")(inputs)
    values = keras.layers.Conv2D(8, 3, strides=2, padding="same", name="first")(values)
    for _ in range(blocks):
        inner = keras.layers.BatchNormalization()(values)
        inner = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(inner)
        values = keras.layers.Add()([values, inner])
    network = keras.Model(inputs, values)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(np.linspace(-1, 1, 8))
            layer.moving_variance.assign(np.linspace(0.5, 2, 8))
    return network


def dense(blocks: int) -> keras.Model:
    """Each block is concatenated to all before it."""
    keras.utils.set_random_seed(2)
    inputs = keras.Input((SIZE, SIZE, 3))
    values = keras.layers.Conv2D(8, 3, strides=4, padding="same")(inputs)
    for _ in range(blocks):
        values = keras.layers.Concatenate()(
            [values, keras.layers.Conv2D(4, 3, padding="same")(values)]
        )
    return keras.Model(inputs, values)


def uncut(blocks: int) -> keras.Model:
    """All blocks read the input too, so there is no place to cut."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((SIZE, SIZE, 3))
    values = inputs
    for _ in range(blocks):
        values = keras.layers.Conv2D(3, 3, padding="same")(keras.layers.Add()([values, inputs]))
    return keras.Model(inputs, values)


def differentiate(
    encoder: Encoder, recompute: bool, jit: bool = False
) -> tuple[list[np.ndarray], int]:
    """Features and gradients of a made-up loss, and the convolutions in the graph."""
    variables = [variable.value for variable in encoder.network.trainable_variables]

    @tf.function(jit_compile=jit)
    def step(images: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            features = encoder(images, recompute=recompute)
            loss = tf.reduce_sum(tf.sin(features))
        return [features, *tape.gradient(loss, variables)]

    images = tf.random.stateless_uniform([2, SIZE, SIZE, 3], [1, 2], -1.0, 1.0)
    graph = step.get_concrete_function(images).graph
    convolutions = sum(operation.type == "Conv2D" for operation in graph.get_operations())
    return [part.numpy() for part in step(images)], convolutions


@pytest.mark.parametrize("build", [residual, dense, uncut])
@pytest.mark.parametrize("blocks", [-1, 1])
def test_features_and_gradients_are_the_same(build, blocks: int) -> None:
    encoder = Encoder(build(6), lambda images: images, pooled=False)
    encoder.set_trainable(blocks, update_statistics=False)
    kept, once = differentiate(encoder, recompute=False)
    again, twice = differentiate(encoder, recompute=True)
    for a, b in zip(kept, again, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    trained = sum(
        isinstance(layer, keras.layers.Conv2D) and layer.trainable
        for layer in encoder.network.layers
    )
    assert once == 1 + 6 + (build is residual) - (build is uncut)
    # Every convolution that trains stands in the graph twice; frozen ones are computed once, as
    # before.
    assert twice == once + trained


def test_compiled_by_xla() -> None:
    encoder = Encoder(residual(4), lambda images: images, pooled=False)
    kept, _ = differentiate(encoder, recompute=False, jit=True)
    again, _ = differentiate(encoder, recompute=True, jit=True)
    for a, b in zip(kept, again, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_nothing_that_trains_is_nothing_to_compute_again() -> None:
    network = residual(2)
    network.trainable = False
    images = tf.zeros([1, SIZE, SIZE, 3])
    np.testing.assert_array_equal(recomputing(network)(images), network(images, training=False))
