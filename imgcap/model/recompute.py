"""Gradient checkpointing: a network that keeps few activations for the backward pass and computes
the others again.

The trained part of a network is cut where all that follows hangs on one tensor (behind each dense
layer of a DenseNet, each addition of a ResNet). Of n such cuts about √n are taken: what is kept
between segments and what one segment needs while it is computed again are then of one size (Chen et
al. 2016, "Training deep nets with sublinear memory cost").
"""

import math
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

Forward = Callable[[tf.Tensor], tf.Tensor]


def recomputing(network: keras.Model) -> Forward:
    """The network's forward pass in inference mode, its trained part in segments that are computed
    again.

    Args:
        network: with one input and one output; what trains in it is marked so.

    Returns:
        A function of the network's input, equal to `network(inputs, training=False)`, gradients
        included.
    """
    cuts, first_trained = _cuts(network)
    trained = [cut for place, cut in cuts if place >= first_trained]
    if not trained:
        return lambda inputs: network(inputs, training=False)
    # Nothing is differentiated before the last cut in front of the first trained layer, so nothing
    # is kept there.
    start = next((cut for place, cut in reversed(cuts) if place < first_trained), network.inputs[0])
    every = round(math.sqrt(len(trained)))
    bounds = [start, *trained[every - 1 : -1 : every], network.outputs[0]]
    segments = [_recomputed(keras.Function(a, b)) for a, b in zip(bounds, bounds[1:], strict=False)]
    if start is not network.inputs[0]:
        segments.insert(0, keras.Function(network.inputs[0], start))
    return lambda inputs: _chain(segments, inputs)


def _chain(segments: Sequence[Forward], values: tf.Tensor) -> tf.Tensor:
    for segment in segments:
        values = segment(values)
    return values


def _cuts(network: keras.Model) -> tuple[list[tuple[int, keras.KerasTensor]], int]:
    """The places in the order of computation behind which one tensor alone is needed, and that of
    the first layer that trains.
    """
    depths = sorted(network._nodes_by_depth, reverse=True)
    nodes = [node for depth in depths for node in network._nodes_by_depth[depth]]
    last_use = {id(used): place for place, node in enumerate(nodes) for used in node.input_tensors}
    last_use[id(network.outputs[0])] = len(nodes)
    cuts, needed = [], {}
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
    layers = [operation for operation in segment.operations if isinstance(operation, keras.Layer)]
    variables = list(
        {id(variable): variable for layer in layers for variable in layer.variables}.values()
    )

    def forward(inputs: tf.Tensor) -> tf.Tensor:
        # tf.recompute_grad wants a function of tensors: of variables, those of a mirrored strategy
        # among them, it would have to find out by itself which were read. So they are read here,
        # outside.
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
