"""DenseNet for CPUs: the same function as Keras' network, in fewer and cheaper operations of
TensorFlow.

Each BatchNorm with its relu is relu(a · x + b), a fixed scale and shift for each channel. After a
convolution both go into its kernel and bias; before one they become a 1 × 1 depthwise convolution,
which oneDNN fuses with bias and relu into one operation. The transitions' average pool commutes
with their 1 × 1 convolution, so it comes first and leaves that a quarter of the positions.

A dense block is computed in groups of layers. The input of a group is concatenated once, and that
part of each layer's 1 × 1 convolution waits for no other layer, so that a second core has work
while the first follows the chain of layers; only the outputs of the group itself are concatenated
layer by layer.
"""

from typing import NamedTuple, TypeAlias

import keras
import numpy as np
import tensorflow as tf

# Below this a scale is left in the depthwise convolution: dividing by it might overflow.
LEAST_SCALE = 1e-12
# Layers of a group. Against 1, DenseNet201 at batch 1 on two cores takes 55 ms, not 68, in float32,
# and as long in bfloat16; at batch 16 the same; 8 are no better.
GROUP = 4


class Affine(NamedTuple):
    """a · x + b with a scale and a shift for each channel, in float64.

    Attributes:
        scale: a [C].
        shift: b [C].
    """

    scale: np.ndarray
    shift: np.ndarray


class DenseLayer(NamedTuple):
    """One layer of a dense block (Huang et al. 2017): BN, relu, 1 × 1, BN, relu, 3 × 3.

    Attributes:
        before: the BatchNorm of its input [C].
        squeeze: kernel [1, 1, C, 4 G], G the growth rate.
        between: the BatchNorm after it [4 G].
        grow: kernel [3, 3, 4 G, G].
    """

    before: Affine
    squeeze: np.ndarray
    between: Affine
    grow: np.ndarray


class Transition(NamedTuple):
    """From one dense block to the next: BN, relu, 1 × 1, average pool by 2.

    Attributes:
        before: the BatchNorm of its input [C].
        kernel: [1, 1, C, C / 2].
    """

    before: Affine
    kernel: np.ndarray


class DenseNet(NamedTuple):
    """The weights of a DenseNet without its top, in the order in which they are used.

    Attributes:
        stem: kernel [7, 7, 3, C].
        after_stem: its BatchNorm [C].
        blocks: the dense blocks.
        transitions: between neighbouring blocks, one fewer than blocks.
        last: the final BatchNorm [C].
    """

    stem: np.ndarray
    after_stem: Affine
    blocks: list[list[DenseLayer]]
    transitions: list[Transition]
    last: Affine


def read_densenet(network: keras.Model) -> DenseNet | None:
    """Finds the parts of a `keras.applications` DenseNet by the names of its layers.

    Args:
        network: any network.

    Returns:
        Its parts, or None if the layers that hold weights are not a DenseNet's. Names do not tell
        what the other layers compute; whoever uses the parts must compare features.
    """
    layers = {layer.name: layer for layer in network.layers if layer.weights}
    counts: list[int] = []
    while f"conv{len(counts) + 2}_block1_0_bn" in layers:
        stage = f"conv{len(counts) + 2}_block"
        counts.append(sum(name.startswith(stage) and name.endswith("_0_bn") for name in layers))
    if set(layers) != _layer_names(counts) or any(
        getattr(layer, "use_bias", False) for layer in layers.values()
    ):
        return None
    blocks = [
        [_read_dense_layer(layers, f"conv{stage}_block{number}") for number in range(1, count + 1)]
        for stage, count in enumerate(counts, 2)
    ]
    transitions = [
        Transition(read_batch_norm(layers[f"pool{stage}_bn"]), _kernel(layers[f"pool{stage}_conv"]))
        for stage in range(2, len(counts) + 1)
    ]
    stem, after_stem = _kernel(layers["conv1_conv"]), read_batch_norm(layers["conv1_bn"])
    return DenseNet(stem, after_stem, blocks, transitions, read_batch_norm(layers["bn"]))


def _layer_names(counts: list[int]) -> set[str]:
    names = {"conv1_conv", "conv1_bn", "bn"}
    names |= {
        f"pool{stage}_{part}" for stage in range(2, len(counts) + 1) for part in ("bn", "conv")
    }
    parts = ("0_bn", "1_conv", "1_bn", "2_conv")
    for stage, count in enumerate(counts, 2):
        names |= {
            f"conv{stage}_block{number}_{part}" for number in range(1, count + 1) for part in parts
        }
    return names


def _read_dense_layer(layers: dict[str, keras.layers.Layer], name: str) -> DenseLayer:
    return DenseLayer(
        read_batch_norm(layers[f"{name}_0_bn"]),
        _kernel(layers[f"{name}_1_conv"]),
        read_batch_norm(layers[f"{name}_1_bn"]),
        _kernel(layers[f"{name}_2_conv"]),
    )


def _kernel(layer: keras.layers.Layer) -> np.ndarray:
    return _numbers(layer.kernel)


def read_batch_norm(layer: keras.layers.BatchNormalization) -> Affine:
    """Folds scale, shift and statistics of a BatchNorm [C]."""
    gamma = 1.0 if layer.gamma is None else _numbers(layer.gamma)
    beta = 0.0 if layer.beta is None else _numbers(layer.beta)
    scale = gamma / np.sqrt(_numbers(layer.moving_variance) + layer.epsilon)
    return Affine(scale, beta - _numbers(layer.moving_mean) * scale)


def _numbers(variable: keras.Variable) -> np.ndarray:
    """The values of a variable in float64."""
    return variable.numpy().astype(np.float64)


class Rectifier(NamedTuple):
    """relu(a · x + b) = magnitude · relu(weight · x + bias), for each channel.

    The magnitude moves into the next kernel, so that the weight is a power of two with a sign and
    loses nothing in bfloat16: relu(-0.3 x + 0.6) = 0.3 · relu(-x + 2). A scale of (nearly) 0 stays
    in the weight, with a magnitude of 1.

    Attributes:
        weight: [C].
        bias: [C].
        magnitude: [C], positive.
    """

    weight: np.ndarray
    bias: np.ndarray
    magnitude: np.ndarray


def make_rectifier(affine: Affine, unit: float = 1.0) -> Rectifier:
    """Takes the magnitudes out of a BatchNorm that a relu follows.

    Args:
        affine: the BatchNorm [C].
        unit: a power of two, the size of the weights.
    """
    size = np.abs(affine.scale)
    magnitude = np.where(size < LEAST_SCALE, 1.0, size) / unit
    return Rectifier(affine.scale / magnitude, affine.shift / magnitude, magnitude)


Kernel: TypeAlias = tf.Variable | np.ndarray
"""Of a convolution: a variable, or numbers that become a constant of the graph.

In float32 they are variables. Every graph that a server makes of a signature would hold a constant
twice, as it is and as oneDNN packs it, and the file's graph itself is held several times over:
DenseNet201 took 2.8 GB. All graphs share a variable, and packing it in each call costs 2 % of the
CPU time of an image (AVX2). In bfloat16, half as large, they are constants.
"""


class FoldedLayer(NamedTuple):
    """A dense layer with its BatchNorms folded into weights.

    Attributes:
        before: the rectifier of its input [C].
        squeeze_known: the part of the 1 × 1 kernel that sees the input of its group.
        squeeze_grown: the part that sees what the group has grown; None in the first of a group.
        shift: bias after the 1 × 1 kernel [4 G].
        grow: kernel [3, 3, 4 G, G].
    """

    before: Rectifier
    squeeze_known: Kernel
    squeeze_grown: Kernel | None
    shift: np.ndarray
    grow: Kernel


class FoldedDenseNet:
    """The folded network: images float32 [B, H, W, 3] in 0..255 → grid float32 [B, h, w, C].

    Attributes:
        variables: those that it reads; all other weights are constants of the graph that a call is
            traced into.
    """

    def __init__(self, parts: DenseNet, pixels: Affine, dtype: tf.DType) -> None:
        """Folds the weights.

        Args:
            parts: of the network.
            pixels: what preprocessing does to a channel of the image [3].
            dtype: of activations and kernels between stem and last BatchNorm, float32 or bfloat16.
        """
        self.variables: list[tf.Variable] = []
        self._parts, self._pixels, self._dtype = parts, pixels, dtype
        self._stem_kernel = self._keep(
            parts.stem * pixels.scale[:, np.newaxis] * parts.after_stem.scale
        )
        self._groups = [
            [
                self._fold_group(block[start : start + GROUP])
                for start in range(0, len(block), GROUP)
            ]
            for block in parts.blocks
        ]
        before = [make_rectifier(transition.before) for transition in parts.transitions]
        self._transitions = [
            (rectifier, self._keep(transition.kernel * rectifier.magnitude[:, np.newaxis]))
            for rectifier, transition in zip(before, parts.transitions, strict=True)
        ]

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Computes the grid."""
        x = self._stem(images)
        for number, groups in enumerate(self._groups):
            if number:
                x = _transition(*self._transitions[number - 1], x)
            for layers in groups:
                x = _dense_group(layers, x)
        # In float32: what is rounded here goes to the decoder as it is.
        scale, shift = (tf.constant(part, tf.float32) for part in self._parts.last)
        return tf.nn.relu(tf.cast(x, tf.float32) * scale + shift)

    def _keep(self, kernel: np.ndarray) -> Kernel:
        if self._dtype != tf.float32:
            return kernel
        variable = tf.Variable(kernel, trainable=False, dtype=self._dtype)
        self.variables.append(variable)
        return variable

    def _fold_group(self, layers: list[DenseLayer]) -> list[FoldedLayer]:
        split = layers[0].before.scale.size  # channels of the input of the group
        folded = []
        for number, layer in enumerate(layers):
            # Equal weights on the same input would be merged into one convolution, and no bias
            # fused with it.
            before = make_rectifier(layer.before, unit=2.0**number)
            kernel = layer.squeeze * before.magnitude[:, np.newaxis] * layer.between.scale
            folded.append(
                FoldedLayer(
                    before,
                    self._keep(kernel[:, :, :split]),
                    self._keep(kernel[:, :, split:]) if number else None,
                    layer.between.shift,
                    self._keep(layer.grow),
                )
            )
        return folded

    def _stem(self, images: tf.Tensor) -> tf.Tensor:
        # Keras pads preprocessed images, so zero must mean the same here: the shift cannot go into
        # the bias.
        pixels, shift = self._pixels, self._parts.after_stem.shift
        x = tf.cast(images + tf.constant(pixels.shift / pixels.scale, tf.float32), self._dtype)
        x = tf.pad(x, [[0, 0], [3, 3], [3, 3], [0, 0]])
        x = tf.nn.conv2d(x, _read(self._stem_kernel, x.dtype), 2, "VALID")
        x = tf.nn.relu(tf.nn.bias_add(x, tf.constant(shift, x.dtype)))
        # After a relu zeros change no maximum, so padding with them is as good as Keras' own
        # padding; VALID is the faster kernel.
        return tf.nn.max_pool2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), 3, 2, "VALID")


def _dense_group(layers: list[FoldedLayer], known: tf.Tensor) -> tf.Tensor:
    """Some layers of a dense block.

    Args:
        layers: of the group.
        known: its input [B, h, w, C].

    Returns:
        [B, h, w, C + layers · G].
    """
    split = known.shape[-1]
    grown: list[tf.Tensor] = []
    for layer in layers:
        weight, bias = layer.before.weight, layer.before.bias
        squeezed = _convolve(_rectify(known, weight[:split], bias[:split]), layer.squeeze_known)
        shift = tf.constant(layer.shift, known.dtype)
        if layer.squeeze_grown is None:
            squeezed = tf.nn.bias_add(squeezed, shift)
        else:
            own = _rectify(tf.concat(grown, axis=-1), weight[split:], bias[split:])
            # add_n and in this order: it becomes one operation with the convolution, bias and relu.
            squeezed = tf.add_n(
                [tf.nn.bias_add(_convolve(own, layer.squeeze_grown), shift), squeezed]
            )
        grown.append(_convolve(tf.nn.relu(squeezed), layer.grow))
    return tf.concat([known, *grown], axis=-1)


def _transition(before: Rectifier, kernel: Kernel, x: tf.Tensor) -> tf.Tensor:
    x = tf.nn.avg_pool2d(_rectify(x, before.weight, before.bias), 2, 2, "VALID")
    return _convolve(x, kernel)


def _rectify(x: tf.Tensor, weight: np.ndarray, bias: np.ndarray) -> tf.Tensor:
    """relu(weight · x + bias) for each channel, in the form that oneDNN fuses."""
    kernel = tf.constant(weight[np.newaxis, np.newaxis, :, np.newaxis], x.dtype)
    x = tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "VALID")
    return tf.nn.relu(tf.nn.bias_add(x, tf.constant(bias, x.dtype)))


def _convolve(x: tf.Tensor, kernel: Kernel) -> tf.Tensor:
    return tf.nn.conv2d(x, _read(kernel, x.dtype), 1, "SAME")


def _read(kernel: Kernel, dtype: tf.DType) -> tf.Tensor:
    return tf.constant(kernel, dtype) if isinstance(kernel, np.ndarray) else kernel.value()
