"""The encoder as it is exported: as Keras runs it, or rewritten for CPUs and then compared.

`cpu` folds a DenseNet (see `export.cpu.densenet`) in float32, `cpu_bf16` in bfloat16. The weights
of any other network are frozen to constants, so that TensorFlow's own graph optimiser can fold
them; its arithmetic stays what it was.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from export.cpu import densenet
from imgcap.errors import ExportError
from imgcap.host import cpu
from imgcap.model.encoder import Encoder
from imgcap.model.slices import Slices, in_slices
from imgcap.signature import FEATURES

NONE, CPU, CPU_BF16 = "none", "cpu", "cpu_bf16"
# TensorFlow runs bfloat16 on any AVX-512, but without this slower than float32; below AVX-512 it
# aborts.
BF16_FEATURES = ("avx512_bf16",)
# Slices have 4 rows or 1 and never another number: TensorFlow keeps 1,024 oneDNN primitives a
# thread, and each size needs some 300 for DenseNet201. Wide slices come in pairs, since two keep
# two cores busy where one would leave one idle. More at once than a server has threads costs
# nothing (8 against 2 on two threads: 8.2 and 8.3 ms an image).
SLICES = Slices(wide=4, narrow=1, group=2, at_once=16)
RELATIVE_ERROR = 1e-5
LEAST_COSINE = 0.999
LEAST_CENTRED_COSINE = 0.99


class FastEncoder(NamedTuple):
    """A function that is exported in place of an encoder.

    Attributes:
        encode: images float32 [B, H, W, 3] in 0..255 → features float32 [B, L, C].
        description: what was done to the encoder, in a few words.
        numerics: type in which its convolutions compute, such as 'float32'.
        cpu_features: features that the CPU must have, by Linux' names.
        intra_op_threads: threads that an operation should have when serving; 0 is TensorFlow's
            default.
        variables: variables that `encode` still reads; all other weights are constants.
        in_float32: the same rewriting in float32, if the network was folded and not only frozen.
    """

    encode: Callable[[tf.Tensor], tf.Tensor]
    description: str
    numerics: str
    cpu_features: tuple[str, ...] = ()
    intra_op_threads: int = 0
    variables: Sequence[tf.Variable] = ()
    in_float32: Callable[[tf.Tensor], tf.Tensor] | None = None


class FeatureCheck(NamedTuple):
    """How far features are from those of the Keras network.

    Attributes:
        relative_error: greatest difference ÷ greatest feature.
        cosine: least cosine of an image's features, flattened, and those of Keras.
        centred_cosine: cosine of the features of all images together, after their mean over the
            images is subtracted. Images share most of their features, which makes the plain cosine
            high whatever is lost; this one sees their differences alone.
    """

    relative_error: float
    cosine: float
    centred_cosine: float


def make_fast_encoder(encoder: Encoder, kind: str) -> FastEncoder:
    """Rewrites an encoder.

    Args:
        encoder: trained; left as it is.
        kind: 'none', 'cpu' or 'cpu_bf16'.

    Returns:
        The rewritten encoder; whether its features are right, `check_features` tells.

    Raises:
        ExportError: this CPU cannot run the result, so it could not be compared.
    """
    if kind == NONE:
        return FastEncoder(
            encoder,
            "as Keras runs it",
            compute_dtype(encoder),
            variables=[variable.value for variable in encoder.variables],
        )
    parts = densenet.read_densenet(encoder.network)
    if parts is None:
        return _freeze(encoder, kind)
    exact, variables = _fold(encoder, parts, tf.float32)
    if kind == CPU:
        return FastEncoder(exact, "DenseNet folded", "float32", (), 1, variables, exact)
    _refuse_cpu(kind)
    rounded, variables = _fold(encoder, parts, tf.bfloat16)
    return FastEncoder(
        rounded, "DenseNet folded, in bfloat16", "bfloat16", BF16_FEATURES, 1, variables, exact
    )


def _refuse_cpu(kind: str) -> None:
    missing = cpu.missing_cpu_features(BF16_FEATURES)
    if missing:
        raise ExportError(
            f"--optimize={kind}: this CPU lacks {', '.join(missing)}, so the encoder can't be "
            f"checked: export on a CPU that has it, or with --optimize={CPU}"
        )


def _freeze(encoder: Encoder, kind: str) -> FastEncoder:
    """An encoder of any architecture, with constants in place of its variables."""
    values = [variable.numpy() for variable in encoder.variables]

    def frozen(images: tf.Tensor) -> tf.Tensor:
        constants = zip(encoder.variables, map(tf.constant, values), strict=True)
        with keras.StatelessScope(state_mapping=constants):
            return encoder(images)

    description = (
        "no DenseNet: weights frozen to constants, the rest is left to TensorFlow's graph optimiser"
    )
    if kind == CPU_BF16:
        description += "; bfloat16 is known for DenseNet alone, so the arithmetic is unchanged"
    return FastEncoder(_one_copy(encoder, frozen), description, compute_dtype(encoder))


def _fold(
    encoder: Encoder, parts: densenet.DenseNet, dtype: tf.DType
) -> tuple[Callable[[tf.Tensor], tf.Tensor], list[tf.Variable]]:
    """A DenseNet in fewer operations, computed in float32 or bfloat16, and its variables."""
    grid = densenet.FoldedDenseNet(parts, _pixels(encoder), dtype)
    encode = _one_copy(encoder, lambda images: encoder.to_features(grid(images)))
    return _in_slices(encode, encoder.features_shape), grid.variables


def _one_copy(
    encoder: Encoder, encode: Callable[[tf.Tensor], tf.Tensor]
) -> Callable[[tf.Tensor], tf.Tensor]:
    """A traced function: the file holds its weights once, however many signatures call it."""
    images = tf.TensorSpec([None, *encoder.network.input_shape[1:]], tf.float32)
    return tf.function(encode, input_signature=[images], autograph=False)


def _pixels(encoder: Encoder) -> densenet.Affine:
    """The scale and shift of preprocessing, from its answers to black and white; if it does more,
    the check of features will tell.
    """
    black, white = (
        np.asarray(encoder.preprocess(tf.fill([1, 1, 1, 3], level)), np.float64)[0, 0, 0]
        for level in (0.0, 255.0)
    )
    return densenet.Affine((white - black) / 255.0, black)


def _in_slices(
    encode: Callable[[tf.Tensor], tf.Tensor], features_shape: tuple[int, int]
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Runs slices of the batch side by side, each on one core.

    A batch of 19 has 4 wide slices of 4 rows and then 3 of one row.
    """
    features = {FEATURES: tf.TensorSpec([None, *features_shape], tf.float32)}

    def encode_batch(images: tf.Tensor) -> tf.Tensor:
        return in_slices(lambda rows: {FEATURES: encode(rows)}, [images], features, SLICES)[
            FEATURES
        ]

    return encode_batch


def check_features(encoder: Encoder, fast: FastEncoder, images: tf.Tensor) -> FeatureCheck:
    """Compares a rewritten encoder with Keras' own on images.

    Args:
        encoder: the encoder that was rewritten.
        fast: the result.
        images: float32 [B, H, W, 3] in 0..255.

    Returns:
        How far their features are apart.

    Raises:
        ExportError: farther than rounding explains (see `refuse_features`). An encoder that was
            folded in bfloat16 must pass in float32, too, where no rounding can hide a mistake.
    """
    expected = _reference(encoder, fast)(images).numpy()
    if fast.in_float32 not in (None, fast.encode):
        refuse_features(compare_features(fast.in_float32, images, expected), "float32")
    found = compare_features(fast.encode, images, expected)
    refuse_features(found, fast.numerics)
    return found


def _reference(encoder: Encoder, fast: FastEncoder) -> Callable[[tf.Tensor], tf.Tensor]:
    """Keras' own encoder, in float32 if the rewritten one was folded."""
    if fast.in_float32 is None or compute_dtype(encoder) == "float32":
        return tf.function(encoder, autograph=False)
    # A run in mixed precision has float32 weights: their folding is held to the network in float32.
    network = keras.models.clone_model(encoder.network, clone_function=_in_float32)
    network.set_weights(encoder.network.get_weights())
    return tf.function(
        lambda images: encoder.to_features(network(encoder.preprocess(images), training=False)),
        autograph=False,
    )


def _in_float32(layer: keras.layers.Layer) -> keras.layers.Layer:
    return type(layer).from_config({**layer.get_config(), "dtype": "float32"})


def compute_dtype(encoder: Encoder) -> str:
    """The narrowest type in which a layer of the encoder computes, such as 'bfloat16'."""
    narrower = {layer.compute_dtype for layer in encoder.network.layers} - {"float32"}
    return min(narrower, default="float32")


def compare_features(
    encode: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor, expected: np.ndarray
) -> FeatureCheck:
    """Measures how far features are from those expected.

    Args:
        encode: images → features [B, L, C].
        images: whatever `encode` takes.
        expected: features [B, L, C].
    """
    found = (
        tf.function(encode, autograph=False)(images)
        .numpy()
        .astype(np.float64)
        .reshape([len(expected), -1])
    )
    expected = expected.astype(np.float64).reshape(found.shape)
    relative_error = np.abs(found - expected).max() / max(
        np.abs(expected).max(), np.finfo(np.float32).tiny
    )
    centred = [(features - features.mean(axis=0)).ravel() for features in (found, expected)]
    return FeatureCheck(
        float(relative_error), float(_cosine(found, expected).min()), float(_cosine(*centred))
    )


def _cosine(first: np.ndarray, second: np.ndarray) -> Any:
    with np.errstate(invalid="ignore"):
        norms = np.sqrt(np.sum(first**2, axis=-1) * np.sum(second**2, axis=-1))
        return np.sum(first * second, axis=-1) / norms


def refuse_features(found: FeatureCheck, numerics: str) -> None:
    """Refuses features that are farther off than rounding explains.

    Args:
        found: from `compare_features`.
        numerics: type in which they were computed.

    Raises:
        ExportError: in float32 a relative error above 1e-5; in a narrower type an image with a
            cosine below 0.999, or all images with a centred cosine below 0.99.
    """
    # Written so that a value of NaN fails.
    if numerics == "float32" and not found.relative_error <= RELATIVE_ERROR:
        wrong = f"a relative error of {found.relative_error:.2g}, allowed is {RELATIVE_ERROR:.0e}"
    elif numerics != "float32" and not found.cosine >= LEAST_COSINE:
        wrong = f"a cosine of {found.cosine:.5f}, needed is {LEAST_COSINE}"
    elif numerics != "float32" and not found.centred_cosine >= LEAST_CENTRED_COSINE:
        wrong = f"a centred cosine of {found.centred_cosine:.4f}, needed is {LEAST_CENTRED_COSINE}"
    else:
        return
    raise ExportError(
        f"the rewritten encoder's features differ from the Keras model's in {numerics}: {wrong}: "
        f"nothing was published; export with --optimize={NONE}"
    )
