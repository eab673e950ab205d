"""Images → features, by DenseNet201, another `keras.applications` model or a `.keras` file.

Every encoder takes RGB in 0..255 and does its own preprocessing, so that training and serving
preprocess by the same code.
"""

import hashlib
import types
import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from imgcap.config import ModelConfig
from imgcap.errors import ConfigError
from imgcap.model.encoder_file import KERAS_SUFFIX, load_encoder_file
from imgcap.model.recompute import recomputing

# With Keras' default of 0.99 the initial statistics last some 500 steps; a run from scratch may
# have fewer.
FROM_SCRATCH_MOMENTUM = 0.9


class Encoder:
    """A convolutional network without its head, from pixels to a grid of features."""

    def __init__(
        self, network: keras.Model, preprocess: Callable[[tf.Tensor], tf.Tensor], pooled: bool
    ) -> None:
        """Wraps a network.

        Args:
            network: preprocessed images float [B, H, W, 3] → grid float [B, h, w, C].
            preprocess: images float32 [B, H, W, 3] in 0..255 → what the network expects.
            pooled: whether the grid is averaged to one position (L = 1).
        """
        self.network, self.preprocess = network, preprocess
        self._pooled = pooled

    def __call__(
        self, images: tf.Tensor, *, update_statistics: bool = False, recompute: bool = False
    ) -> tf.Tensor:
        """Encodes images.

        Args:
            images: float32 [B, H, W, 3] in 0..255.
            update_statistics: whether BatchNorm uses and updates the batch's statistics.
            recompute: whether the backward pass computes activations again instead of keeping them;
                not with `update_statistics`, which would be updated twice.

        Returns:
            Features float32 [B, L, C], positions row by row.
        """
        pixels = self.preprocess(images)
        if recompute:
            return self.to_features(recomputing(self.network)(pixels))
        return self.to_features(self.network(pixels, training=update_statistics))

    def to_features(self, grid: tf.Tensor) -> tf.Tensor:
        """Turns the output of the network into the input of the decoder.

        Args:
            grid: float [B, h, w, C].

        Returns:
            Features float32 [B, L, C].
        """
        grid = tf.cast(grid, tf.float32)
        if self._pooled:
            return tf.reduce_mean(grid, axis=[1, 2], keepdims=True)[:, 0]  # -> [B, 1, C]
        return tf.reshape(grid, [-1, *self.features_shape])

    @property
    def features_shape(self) -> tuple[int, int]:
        """(L, C) of the features."""
        _, height, width, channels = self.network.output_shape
        return (1 if self._pooled else height * width), channels

    @property
    def variables(self) -> list[keras.Variable]:
        """All variables, in the order of the network's layers."""
        return self.network.variables

    def set_trainable(self, blocks: int, update_statistics: bool) -> None:
        """Freezes all but the last blocks of the network.

        A block is a run of layers whose output has the same height and width, as in the networks'
        own papers: the last block of DenseNet201 is all of its 7×7 dense block, the last of a
        ResNet its `conv5`.

        Args:
            blocks: how many blocks from the end train; 0 is none, -1 the whole encoder.
            update_statistics: whether BatchNorm statistics are learnt too, with a momentum for
                short runs.
        """
        sizes: list[tuple[int | None, ...]] = []
        for layer in self.network.layers:
            size = _output_size(layer)
            if size and (not sizes or size != sizes[-1]):
                sizes.append(size)
        kept = sizes if blocks < 0 else sizes[len(sizes) - blocks :]
        for layer in self.network.layers:
            layer.trainable = _output_size(layer) in kept
            if update_statistics and isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = FROM_SCRATCH_MOMENTUM

    def fingerprint(self) -> str:
        """A hash of all weights and shapes, by which stored features belong to their encoder."""
        digest = hashlib.sha256(f"{self.network.input_shape} {self.features_shape}".encode())
        for variable in self.variables:
            digest.update(f"{variable.shape} {variable.dtype}".encode())
            digest.update(variable.numpy().tobytes())
        return digest.hexdigest()[:16]


def make_encoder(config: ModelConfig, *, pooled: bool, weights: str | None = None) -> Encoder:
    """Builds the encoder and loads its weights.

    Args:
        config: names the encoder and its weights.
        pooled: whether the decoder takes one vector an image instead of the grid.
        weights: in place of `config.encoder_weights`; 'none' if a checkpoint is loaded next.

    Returns:
        The encoder, its variables frozen or not as Keras made them.

    Raises:
        ConfigError: unknown name, weights that are missing or don't fit, or an image size that the
            network cannot take.
    """
    if config.encoder.endswith(KERAS_SUFFIX):
        return Encoder(load_network(config), _as_is, pooled)
    module, build = find_application(config.encoder)
    network = _build_network(build, config)
    _load_weights(network, config, build, weights or config.encoder_weights)
    return Encoder(network, module.preprocess_input, pooled)


def load_network(config: ModelConfig) -> keras.Model:
    """Reads the .keras file that a config names as its encoder.

    Args:
        config: its encoder is a .keras file.

    Returns:
        A network from images float [B, H, W, 3] to a grid float [B, h, w, C].

    Raises:
        ConfigError: the file cannot be loaded, or is no such network.
    """
    return load_encoder_file(Path(config.encoder), config.image_size, config.encoder_output)


def _as_is(images: tf.Tensor) -> tf.Tensor:
    """The preprocessing of a .keras file, which does its own."""
    return images


def find_application(name: str) -> tuple[types.ModuleType, Callable[..., keras.Model]]:
    """Finds a `keras.applications` model by its name in lower case.

    Args:
        name: such as 'densenet201' or 'mobilenetv2'.

    Returns:
        The model's module (for `preprocess_input`) and its builder.

    Raises:
        ConfigError: there is no such model.
    """
    found: dict[str, tuple[types.ModuleType, Callable[..., keras.Model]]] = {}
    for module in vars(keras.applications).values():
        if isinstance(module, types.ModuleType) and hasattr(module, "preprocess_input"):
            builders = {
                key.lower(): value for key, value in vars(module).items() if key[0].isupper()
            }
            found |= {key: (module, builder) for key, builder in builders.items()}
    if name not in found and Path(name).exists():
        raise ConfigError(
            f"--encoder={name} must end in {KERAS_SUFFIX}: save the whole model by "
            f"model.save('NAME{KERAS_SUFFIX}'), or give weights alone as --encoder_weights, and "
            "the name of their network as --encoder"
        )
    if name not in found:
        raise ConfigError(
            f"--encoder={name} is no .keras file and none of {', '.join(sorted(found))}"
        )
    return found[name]


def _build_network(build: Callable[..., keras.Model], config: ModelConfig) -> keras.Model:
    """Builds a network without its head, with random weights."""
    try:
        return build(
            include_top=False, weights=None, input_shape=(config.image_size, config.image_size, 3)
        )
    except ValueError as error:
        raise ConfigError(
            f"--encoder={config.encoder} can't take --image_size={config.image_size}: {error}"
        ) from None


def _load_weights(
    network: keras.Model, config: ModelConfig, build: Callable[..., keras.Model], weights: str
) -> None:
    """Loads ImageNet's weights or those of a file into a network; 'none' leaves it as it is."""
    if weights == "none":
        return
    if weights == "imagenet":
        network.set_weights(_imagenet_weights(config, build))
        return
    if not Path(weights).is_file():
        raise ConfigError(
            f"--encoder_weights={weights} is no file: give 'imagenet', 'none' or a file Keras saved"
        )
    try:
        with warnings.catch_warnings():
            # If the file lacks layers, Keras only warns, and leaves them random.
            warnings.simplefilter("error", UserWarning)
            network.load_weights(weights)
    except Exception as error:  # Keras raises nearly anything on a file of something else.
        raise ConfigError(
            f"--encoder_weights={weights} doesn't fit --encoder={config.encoder} without its top: "
            f"{str(error).splitlines()[0][:200]}"
        ) from None


def _imagenet_weights(config: ModelConfig, build: Callable[..., keras.Model]) -> list:
    """Weights of ImageNet, which Keras downloads unless it has them."""
    shape = (config.image_size, config.image_size, 3)
    try:
        return build(include_top=False, weights="imagenet", input_shape=shape).get_weights()
    except Exception as error:
        raise ConfigError(
            f"the ImageNet weights of {config.encoder} can't be downloaded "
            f"({str(error).splitlines()[0][:120]}): fetch the 'notop' weights file on a connected "
            "machine, put it into ~/.keras/models or give it as --encoder_weights=FILE"
        ) from None


def _output_size(layer: keras.layers.Layer) -> tuple[int | None, ...] | None:
    """Height and width of a layer's output; None if it is no grid."""
    shape = getattr(layer.output, "shape", ())
    return tuple(shape[1:3]) if len(shape) == 4 else None
