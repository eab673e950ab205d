"""Gradient checkpointing: few activations are kept for the backward pass, the others recomputed.

The trained part of a network is cut wherever all that follows depends on one tensor alone (after
each dense layer of a DenseNet, each addition of a ResNet). Of n such cuts about √n are used: what
is kept between segments, and what one segment needs while it is recomputed, are then of about the
same size (Chen et al. 2016, "Training deep nets with sublinear memory cost").
"""

import math
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

Forward = Callable[[tf.Tensor], tf.Tensor]
"""Inputs -> outputs, both with rows as the first axis."""


def recomputing(network: keras.Model) -> Forward:
    """Makes a forward pass in inference mode whose trained part is recomputed by segments.

    Args:
        network: with one input and one output; its layers are marked as trainable or not.

    Returns:
        A function of the network's input, equal to `network(inputs, training=False)`, gradients
        included.
    """
    cuts, first_trained = _cuts(network)
    trained = [cut for place, cut in cuts if place >= first_trained]
    if not trained:
        return lambda inputs: network(inputs, training=False)
    # Up to the last cut before the first trained layer nothing is differentiated, so nothing is
    # kept.
    start = next((cut for place, cut in reversed(cuts) if place < first_trained), network.inputs[0])
    every = round(math.sqrt(len(trained)))
    bounds = [start, *trained[every - 1 : -1 : every], network.outputs[0]]
    segments = [_recomputed(keras.Function(a, b)) for a, b in zip(bounds, bounds[1:], strict=False)]
    if start is not network.inputs[0]:
        segments.insert(0, keras.Function(network.inputs[0], start))
    return lambda inputs: _chain(segments, inputs)


def _chain(segments: Sequence[Forward], values: tf.Tensor) -> tf.Tensor:
    """Runs segments one after the other."""
    for segment in segments:
        values = segment(values)
    return values


def _cuts(network: keras.Model) -> tuple[list[tuple[int, keras.KerasTensor]], int]:
    """Finds the cuts of a network, and its first trained layer.

    Returns:
        Each cut as its place in the order of computation and the one tensor needed after it; and
        the place of the first layer that trains.
    """
    depths = sorted(network._nodes_by_depth, reverse=True)
    nodes = [node for depth in depths for node in network._nodes_by_depth[depth]]
    last_use = {id(used): place for place, node in enumerate(nodes) for used in node.input_tensors}
    last_use[id(network.outputs[0])] = len(nodes)
    cuts: list[tuple[int, keras.KerasTensor]] = []
    needed: dict[int, keras.KerasTensor] = {}
    for place, node in enumerate(nodes):
        needed |= {id(made): made for made in node.outputs}
        needed = {key: made for key, made in needed.items() if last_use.get(key, -1) > place}
        if len(needed) == 1:
            cuts.append((place, next(iter(needed.values()))))
    trained = (
        place
        for place, node in enumerate(nodes)
        if getattr(node.operation, "trainable_variables", ())
    )
    return cuts, next(trained, len(nodes))


def _recomputed(segment: keras.Function) -> Forward:
    """Makes a forward pass of a segment that keeps no activations within it."""
    layers = [operation for operation in segment.operations if isinstance(operation, keras.Layer)]
    variables = list(
        {id(variable): variable for layer in layers for variable in layer.variables}.values()
    )

    def forward(inputs: tf.Tensor) -> tf.Tensor:
        # tf.recompute_grad needs a function of tensors: it may not find variables that one reads,
        # such as those of a mirrored strategy. So they are read here.
        frozen = [
            (variable, tf.convert_to_tensor(variable.value))
            for variable in variables
            if not variable.trainable
        ]
        trained = [variable for variable in variables if variable.trainable]

        def pure(inputs: tf.Tensor, *values: tf.Tensor) -> tf.Tensor:
            with keras.StatelessScope(state_mapping=[*frozen, *zip(trained, values, strict=True)]):
                return segment(inputs)

        return tf.recompute_grad(pure)(
            inputs, *(tf.convert_to_tensor(variable.value) for variable in trained)
        )

    return forward
