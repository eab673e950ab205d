"""The rewritten encoder: Keras' features for every batch size and odd BatchNorm; what differs is
refused.
"""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.applications.densenet import DenseNet

from export import cli
from export.check import parity
from export.cpu import densenet, optimize
from imgcap.config import ModelConfig
from imgcap.data.raw import drawn
from imgcap.errors import ExportError
from imgcap.host import cpu
from imgcap.model.encoder import Encoder, make_encoder

needs_bf16 = pytest.mark.skipif(
    bool(cpu.missing_cpu_features(optimize.BF16_FEATURES)),
    reason="this CPU has no bfloat16 (avx512_bf16)",
)
REAL_SIZE = 96
RELOAD = """
import sys
sys.modules["keras"] = None
import numpy as np, tensorflow as tf
images, *models = sys.argv[1:]
for model in models:
    encode = tf.saved_model.load(model).signatures["serving_default"]
    features = encode(images=tf.constant(np.load(images)))
    np.save(model + ".npy", features["features"].numpy())
sys.exit(any(sys.modules.get(name) for name in ("imgcap", "export", "keras")))
"""


def draw(count: int, size: int, seed: int) -> np.ndarray:
    pictures = [
        drawn.draw_scene(random.Random(seed + row)).picture.resize((size, size))
        for row in range(count)
    ]
    return np.stack([np.asarray(picture, np.float32) for picture in pictures])


def preprocess(images: tf.Tensor) -> tf.Tensor:
    # Keras writes into an array it is given; a tensor it leaves alone.
    return keras.applications.densenet.preprocess_input(tf.convert_to_tensor(images))


def learn_statistics(network: keras.Model, images: np.ndarray, spread: float) -> None:
    """Gives every BatchNorm its own scale and shift, and the statistics of real activations."""
    rng = np.random.default_rng(0)
    norms = [
        layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)
    ]
    for norm in norms:
        norm.momentum = 0.3
        norm.gamma.assign(rng.normal(1, spread, norm.gamma.shape))
        norm.beta.assign(rng.normal(0, spread, norm.beta.shape))
    step = tf.function(lambda batch: network(preprocess(batch), training=True))
    for batch in np.split(images, 2) * 2:
        step(batch)


def make_small_network() -> keras.Model:
    return DenseNet([2, 5, 4, 1], include_top=False, weights=None, input_shape=(64, 64, 3))


@pytest.fixture(scope="module")
def small() -> Encoder:
    keras.utils.set_random_seed(0)
    network = make_small_network()
    learn_statistics(network, draw(16, 64, seed=100), spread=0.1)
    return Encoder(network, preprocess, pooled=False)


def copy_small(small: Encoder) -> Encoder:
    """A copy for a test to change; statistics take seconds to learn."""
    network = make_small_network()
    network.set_weights(small.network.get_weights())
    return Encoder(network, preprocess, pooled=False)


@pytest.fixture(scope="module")
def real() -> Encoder:
    keras.utils.set_random_seed(0)
    network = keras.applications.DenseNet121(
        include_top=False, weights=None, input_shape=(REAL_SIZE, REAL_SIZE, 3)
    )
    learn_statistics(network, draw(16, REAL_SIZE, seed=100), spread=0.1)
    return Encoder(network, preprocess, pooled=True)


def write_encoder(path: Path, encoder: optimize.FastEncoder) -> None:
    images = tf.TensorSpec([None, REAL_SIZE, REAL_SIZE, 3], tf.float32, name="images")
    module = tf.Module()
    module.weights = list(encoder.variables)
    module.encode = tf.function(
        lambda images: {"features": encoder.encode(images)}, input_signature=[images]
    )
    module.mean = tf.function(
        lambda images: {"mean": tf.reduce_mean(encoder.encode(images))}, input_signature=[images]
    )
    tf.saved_model.save(
        module, str(path), signatures={"serving_default": module.encode, "mean": module.mean}
    )


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@needs_bf16
def test_densenet121_reloaded_in_a_fresh_process(real: Encoder, tmp_path: Path) -> None:
    images = draw(9, REAL_SIZE, seed=0)
    np.save(tmp_path / "images.npy", images)
    weights = sum(part.size for part in tf.nest.flatten(densenet.read_densenet(real.network)))
    for kind, width in (("cpu", 4), ("cpu_bf16", 2)):
        encoder = optimize.make_fast_encoder(real, kind)
        assert bool(encoder.variables) == (kind == "cpu")
        write_encoder(tmp_path / kind, encoder)
        on_disk = sum(
            path.stat().st_size for path in (tmp_path / kind).rglob("*") if path.is_file()
        )
        assert weights * width < on_disk < 1.1 * weights * width
        operations = parity.count_operations(tmp_path / kind)
        loop = "While" if encoder.variables else "StatelessWhile"
        assert operations.keys() >= {"Conv2D", "DepthwiseConv2dNative", loop}
        assert not [
            name
            for name in operations
            if name.startswith((*parity.FORBIDDEN_OPS, "_", "FusedBatchNorm"))
        ]
    models = [str(tmp_path / kind) for kind in ("cpu", "cpu_bf16")]
    subprocess.run(
        [sys.executable, "-I", "-c", RELOAD, str(tmp_path / "images.npy"), *models], check=True
    )
    expected = (
        real.network(preprocess(images), training=False).numpy().mean(axis=(1, 2))[:, np.newaxis]
    )
    exact, rounded = (np.load(f"{model}.npy") for model in models)
    assert exact.shape == rounded.shape == (9, 1, 1024)
    assert relative(exact, expected) <= 1e-5
    # Random kernels spread rounding errors wider than learnt ones do (0.99998 for a trained
    # DenseNet201).
    for found, true in zip(rounded[:, 0], expected[:, 0], strict=True):
        assert found @ true / np.linalg.norm(found) / np.linalg.norm(true) >= 0.999
    # Rounding to eight bits does show: otherwise nothing was computed in bfloat16.
    assert 1e-3 < relative(rounded, expected) < 0.1


@pytest.mark.parametrize("kind", ["cpu", pytest.param("cpu_bf16", marks=needs_bf16)])
def test_a_batch_gives_what_its_rows_give_alone(small: Encoder, kind: str) -> None:
    encode = tf.function(
        optimize.make_fast_encoder(small, kind).encode,
        input_signature=[tf.TensorSpec([None, 64, 64, 3], tf.float32)],
    )
    images = draw(19, 64, seed=0)
    alone = np.concatenate([encode(images[row : row + 1]) for row in range(19)])
    # 9 and 19 go through both sizes of slice. oneDNN may add in another order for another size: in
    # float32 that shows in the last bits, in bfloat16 now and then in the last of eight bits of an
    # activation.
    tolerance = 1e-6 if kind == "cpu" else 1e-2
    for rows in (0, 1, 3, 4, 5, 9, 19):
        found = encode(images[:rows]).numpy()
        assert found.shape == (rows, *small.features_shape)
        np.testing.assert_allclose(found, alone[:rows], rtol=0, atol=tolerance * alone.max())


def test_the_order_of_rows_is_kept(small: Encoder) -> None:
    images = draw(13, 64, seed=0)
    expected = small(images).numpy()
    found = optimize.make_fast_encoder(small, "cpu").encode(tf.constant(images)).numpy()
    for row in range(13):
        nearest = np.argmin([np.abs(found[row] - other).max() for other in expected])
        assert nearest == row


def test_pooled_features(small: Encoder) -> None:
    pooled = Encoder(small.network, preprocess, pooled=True)
    images = draw(3, 64, seed=0)
    found = optimize.make_fast_encoder(pooled, "cpu").encode(tf.constant(images))
    assert found.shape == (3, 1, pooled.features_shape[1])
    assert relative(found.numpy(), pooled(images).numpy()) <= 1e-5


def test_odd_batch_norms_are_exact(small: Encoder) -> None:
    odd = copy_small(small)
    for layer in odd.network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma = layer.gamma.numpy()
            gamma[0::4] *= -1
            gamma[1::4] = 0
            gamma[2::8] = 1e-20
            gamma[6::8] = 1e-42
            layer.gamma.assign(gamma)
    images = tf.constant(draw(4, 64, seed=0))
    expected = odd(images).numpy()
    found = optimize.make_fast_encoder(odd, "cpu").encode(images).numpy()
    assert np.isfinite(expected).all() and relative(found, expected) <= 1e-5
    # A channel of the last BatchNorm without a scale is the shift alone.
    beta = odd.network.get_layer("bn").beta.numpy()
    np.testing.assert_allclose(
        found[..., 1::4], np.broadcast_to(np.maximum(beta[1::4], 0), found[..., 1::4].shape)
    )


@needs_bf16
def test_odd_batch_norms_in_bfloat16(small: Encoder) -> None:
    odd = copy_small(small)
    norm = odd.network.get_layer("conv2_block1_0_bn")
    gamma = norm.gamma.numpy()
    gamma[:5] = [0, -0.0, 1e-42, -1.5, 1e-20]
    norm.gamma.assign(gamma)
    images = tf.constant(draw(16, 64, seed=0))
    encode = optimize.make_fast_encoder(odd, "cpu_bf16").encode
    found = optimize.compare_features(encode, images, odd(images).numpy())
    # So few random kernels average no rounding error away: a mistake would show as far less.
    assert found.cosine > 0.998 and found.centred_cosine > 0.998 and found.relative_error > 1e-3


def test_a_rectifier_by_hand() -> None:
    norm = densenet.Affine(np.array([2.0, -0.5, 0.0, 1e-30]), np.array([3.0, 1.0, 0.7, -0.2]))
    made = densenet.make_rectifier(norm)
    assert made.weight.tolist() == [1.0, -1.0, 0.0, 1e-30]
    assert made.bias.tolist() == [1.5, 2.0, 0.7, -0.2]
    assert made.magnitude.tolist() == [2.0, 0.5, 1.0, 1.0]
    scaled = densenet.make_rectifier(norm, unit=4.0)
    assert scaled.weight.tolist() == [4.0, -4.0, 0.0, 4e-30]
    assert (scaled.magnitude * scaled.bias).tolist() == norm.shift.tolist()


def test_densenet201_is_read_whole() -> None:
    network = keras.applications.DenseNet201(
        include_top=False, weights=None, input_shape=(32, 32, 3)
    )
    parts = densenet.read_densenet(network)
    assert parts is not None
    assert [len(block) for block in parts.blocks] == [6, 12, 48, 32] and len(parts.transitions) == 3
    assert parts.blocks[2][47].grow.shape == (3, 3, 128, 32) and parts.last.scale.shape == (1920,)
    # A BatchNorm has four numbers a channel, of which two are left; every other weight is read
    # once.
    norms = [part for part in network.layers if isinstance(part, keras.layers.BatchNormalization)]
    folded_away = 2 * sum(norm.gamma.shape[0] for norm in norms)
    assert sum(part.size for part in tf.nest.flatten(parts)) == network.count_params() - folded_away


def test_other_networks_are_no_densenet() -> None:
    def build(name: str) -> keras.Model:
        inputs = keras.Input((32, 32, 3))
        return keras.Model(inputs, keras.layers.Conv2D(4, 3, use_bias=False, name=name)(inputs))

    assert densenet.read_densenet(build("conv1_conv")) is None
    assert densenet.read_densenet(build("conv")) is None


@pytest.fixture(scope="module")
def mobile() -> Encoder:
    config = ModelConfig(encoder="mobilenetv2", encoder_weights="none", image_size=64)
    return make_encoder(config, pooled=False)


@pytest.mark.parametrize("kind", ["cpu", "cpu_bf16"])
def test_another_network_is_frozen_as_it_is(mobile: Encoder, kind: str) -> None:
    images = tf.constant(draw(3, 64, seed=0))
    fast = optimize.make_fast_encoder(mobile, kind)
    assert fast.description.startswith("no DenseNet: weights frozen") and fast.cpu_features == ()
    assert ("bfloat16 is known for DenseNet alone" in fast.description) == (kind == "cpu_bf16")
    encode: Any = fast.encode
    traced = encode.get_concrete_function()
    assert traced.variables == () and traced.captured_inputs == []
    assert optimize.check_features(mobile, fast, images).relative_error <= 1e-5
    assert tf.function(mobile).get_concrete_function(images).variables


def check_refused(encoder: Encoder, kind: str, message: str) -> None:
    images = tf.constant(draw(8, 64, seed=0))
    with pytest.raises(ExportError, match=message):
        optimize.check_features(encoder, optimize.make_fast_encoder(encoder, kind), images)


def test_a_lost_scale_is_refused(small: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(affine: densenet.Affine, unit: float = 1.0) -> densenet.Rectifier:
        return densenet.Rectifier(np.sign(affine.scale), affine.shift, np.ones_like(affine.scale))

    monkeypatch.setattr(densenet, "make_rectifier", forgetful)
    check_refused(
        small,
        "cpu",
        r"differ from the Keras model's in float32: a relative error of .*--optimize=none",
    )


def test_a_preprocessing_that_is_no_scale_and_shift_is_refused(small: Encoder) -> None:
    odd = Encoder(small.network, lambda images: preprocess(tf.minimum(images, 200.0)), pooled=False)
    check_refused(odd, "cpu", "in float32: a relative error of")


@needs_bf16
def test_a_mistake_too_small_for_the_cosine_is_refused(
    small: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = densenet.read_batch_norm
    images = tf.constant(draw(8, 64, seed=0))
    encode = optimize.make_fast_encoder(small, "cpu_bf16").encode
    right = optimize.compare_features(encode, images, small(images).numpy())

    def slightly_off(layer: keras.layers.BatchNormalization) -> densenet.Affine:
        return densenet.Affine(true(layer).scale * 1.0003, true(layer).shift)

    monkeypatch.setattr(densenet, "read_batch_norm", slightly_off)
    wrong = optimize.make_fast_encoder(small, "cpu_bf16")
    found = optimize.compare_features(wrong.encode, images, small(images).numpy())
    assert abs(found.cosine - right.cosine) < 5e-4
    check_refused(small, "cpu_bf16", "in float32: a relative error of")


def test_lost_features_are_refused_in_bfloat16() -> None:
    features = np.random.default_rng(0).uniform(1, 1.01, [6, 4, 8])
    # The same for every image: the plain cosine hardly sees it.
    constant = np.broadcast_to(features.mean(axis=0), features.shape)
    found = optimize.compare_features(lambda images: tf.constant(constant), tf.zeros([6]), features)
    assert found.cosine > 0.9999
    with pytest.raises(ExportError, match="in bfloat16: a centred cosine of .*, needed is 0.99"):
        optimize.refuse_features(found, "bfloat16")
    noise = features + np.random.default_rng(1).normal(0, 0.1, features.shape)
    found = optimize.compare_features(lambda images: tf.constant(noise), tf.zeros([6]), features)
    with pytest.raises(ExportError, match="in bfloat16: a cosine of 0.99[0-8].*, needed is 0.999"):
        optimize.refuse_features(found, "bfloat16")
    with pytest.raises(ExportError, match="a relative error of nan"):
        optimize.refuse_features(found._replace(relative_error=float("nan")), "float32")


def test_cosines_by_hand() -> None:
    expected = np.array([[[3.0, 4.0]], [[1.0, 0.0]]])
    found = np.array([[[4.0, 3.0]], [[1.0, 0.0]]])
    check = optimize.compare_features(lambda images: tf.constant(found), tf.zeros([2]), expected)
    assert check.relative_error == 0.25
    assert check.cosine == pytest.approx(24 / 25)
    # Deviations from the mean are ±(1, 2) and ±(1.5, 1.5).
    assert check.centred_cosine == pytest.approx((1 * 1.5 + 2 * 1.5) / np.sqrt(5 * 4.5))


def test_a_run_in_mixed_precision_is_held_to_float32(small: Encoder) -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = copy_small(small)
    finally:
        keras.config.set_dtype_policy("float32")
    images = tf.constant(draw(4, 64, seed=0))
    assert optimize.compute_dtype(mixed) == "bfloat16"
    fast = optimize.make_fast_encoder(mixed, "cpu")
    assert fast.numerics == "float32"
    assert optimize.check_features(mixed, fast, images).relative_error <= 1e-5
    assert relative(mixed(images).numpy(), fast.encode(images).numpy()) > 1e-3
    assert optimize.make_fast_encoder(mixed, "none").numerics == "bfloat16"


def test_a_cpu_without_bfloat16(small: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "missing_cpu_features", lambda required: list(required))
    with pytest.raises(
        ExportError, match="--optimize=cpu_bf16: this CPU lacks avx512_bf16.*--optimize=cpu"
    ):
        optimize.make_fast_encoder(small, "cpu_bf16")


def test_features_of_a_cpu(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        "processor\t: 0\nmodel name\t: avx512_bf16 in name only\nflags\t\t: fpu avx2 avx512f\n"
    )
    assert cpu.missing_cpu_features(["avx2", "avx512_bf16"], cpuinfo) == ["avx512_bf16"]
    assert cpu.missing_cpu_features(["avx512", "fpu"], cpuinfo) == ["avx512"]
    assert cpu.missing_cpu_features([], cpuinfo) == []
    assert cpu.missing_cpu_features(["fpu"], tmp_path / "none") == ["fpu"]


def test_an_optimized_export(
    models: Path,
    workdir: Path,
    raw_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain, optimized = models / "1", tmp_path / "1"
    arguments = [f"--workdir={workdir}", f"--output_dir={tmp_path}", "--optimize=cpu", "--nocheck"]
    capsys.readouterr()
    assert cli.main(["imgcap-export", *arguments]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("encoder: ")]
    assert said[0].startswith("encoder: no DenseNet: weights frozen")
    images = [path.read_bytes() for path in sorted((raw_dir / "Images").iterdir())[:3]]
    answers, variables = [], []
    for version in (plain, optimized):
        served = tf.saved_model.load(str(version))
        answer = served.signatures["decode"](image_bytes=tf.constant(images))
        answers.append(answer["caption"].numpy().tolist())
        variables.append(len(served.weights))
    assert answers[0] == answers[1]
    assert variables[0] - variables[1] == 2
    assert json.loads((plain / "manifest.json").read_text())["optimize"] == "none"
    manifest = json.loads((optimized / "manifest.json").read_text())
    assert manifest["optimize"] == "cpu" and manifest["encoder_description"].startswith(
        "no DenseNet"
    )
    assert manifest["cpu_features"] == [] and manifest["encoder_check"]["relative_error"] <= 1e-5


def test_features_that_differ_are_not_published(
    workdir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(optimize, "RELATIVE_ERROR", -1.0)
    arguments = [f"--workdir={workdir}", f"--output_dir={tmp_path}", "--optimize=cpu", "--nocheck"]
    assert cli.main(["imgcap-export", *arguments]) == 1
    error = capsys.readouterr().err
    assert "features differ from the Keras model's in float32" in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
