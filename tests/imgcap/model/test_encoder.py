"""Encoders: names, files, weights, preprocessing, and what is said when one can't be had."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from imgcap.config import ModelConfig
from imgcap.errors import ConfigError
from imgcap.model import encoder
from imgcap.model.encoder import Encoder, make_encoder


def small(**values) -> ModelConfig:
    return ModelConfig(
        **{"encoder": "mobilenetv2", "encoder_weights": "none", "image_size": 32, **values}
    )


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, size=[2, 64, 64, 3]).astype(np.float32)


def test_grid_and_pooled_by_the_network_itself(images: np.ndarray) -> None:
    grid = make_encoder(small(image_size=64), pooled=False)
    expected = grid.network(images / 127.5 - 1.0, training=False).numpy()
    assert grid.features_shape == (4, 1280)
    np.testing.assert_allclose(grid(images), expected.reshape([2, 4, 1280]), atol=1e-6)
    pooled = Encoder(grid.network, keras.applications.mobilenet_v2.preprocess_input, pooled=True)
    assert pooled.features_shape == (1, 1280)
    np.testing.assert_allclose(pooled(images)[:, 0], expected.mean(axis=(1, 2)), atol=1e-6)


def test_each_application_has_its_own_preprocessing() -> None:
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    module, _ = encoder.find_application("densenet201")
    pixel = np.array([[[[10.0, 100.0, 200.0]]]], np.float32)
    expected = (pixel / 255 - mean) / std
    np.testing.assert_allclose(module.preprocess_input(tf.constant(pixel)), expected, rtol=1e-4)


def test_weights_that_keras_saved(tmp_path: Path, images: np.ndarray) -> None:
    first = make_encoder(small(image_size=64), pooled=True)
    path = tmp_path / "saved.weights.h5"
    first.network.save_weights(path)
    second = make_encoder(small(image_size=64, encoder_weights=str(path)), pooled=True)
    np.testing.assert_allclose(first(images), second(images), rtol=1e-4, atol=1e-8)
    assert first.fingerprint() == second.fingerprint()
    assert first.fingerprint() != make_encoder(small(image_size=64), pooled=True).fingerprint()


def test_a_keras_file(encoder_file: Path) -> None:
    made = make_encoder(small(encoder=str(encoder_file)), pooled=False)
    assert made.features_shape == (16, 24)
    images = np.full([1, 32, 32, 3], 255.0, np.float32)
    kernel, bias = made.network.get_layer("mixtures").get_weights()
    np.testing.assert_allclose(
        made(images)[0, 3], np.maximum(kernel[0, 0].sum(axis=0) + bias, 0), atol=1e-5
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"encoder": "densenet2001"},
            "--encoder=densenet2001 is no .keras file and none of .*densenet201",
        ),
        ({"encoder": "/nowhere/e.keras"}, "--encoder=/nowhere/e.keras is no file"),
        (
            {"encoder_weights": "/nowhere/w.h5"},
            "--encoder_weights=/nowhere/w.h5 is no file: give 'imagenet', 'none'",
        ),
        ({"encoder": "inceptionv3"}, "--encoder=inceptionv3 can't take --image_size=32"),
    ],
)
def test_what_can_not_be_had(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_encoder(small(**values), pooled=True)


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    other = tmp_path / "other.weights.h5"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save_weights(other)
    with pytest.raises(
        ConfigError, match=r"other.weights.h5 doesn't fit --encoder=mobilenetv2 without its top"
    ):
        make_encoder(small(encoder_weights=str(other)), pooled=True)
    garbage = tmp_path / "garbage.keras"
    garbage.write_bytes(b"no zip")
    with pytest.raises(ConfigError, match="garbage.keras is no Keras model that can be loaded"):
        make_encoder(small(encoder=str(garbage)), pooled=True)
    flat = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(64, name="mixed"),
            keras.layers.Reshape((4, 4, 4)),
        ]
    )
    flat.save(tmp_path / "flat.keras")
    with pytest.raises(
        ConfigError,
        match=r"takes images of 32 × 32 pixels, not of --image_size=64 \(the weights of its layer "
        r"mixed are for one size alone\): give --image_size=32",
    ):
        make_encoder(small(encoder=str(tmp_path / "flat.keras"), image_size=64), pooled=True)


def test_a_download_that_fails_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments, **values) -> None:
        raise Exception("URL fetch failure on example: no route")

    monkeypatch.setattr(keras.src.applications.mobilenet_v2.file_utils, "get_file", refuse)
    with pytest.raises(
        ConfigError, match=r"of mobilenetv2 can't be downloaded .*no route.*~/.keras/models"
    ):
        make_encoder(small(image_size=96, encoder_weights="imagenet"), pooled=True)


def test_freezing_by_blocks() -> None:
    made = make_encoder(small(image_size=64), pooled=True)
    made.set_trainable(0, update_statistics=False)
    assert made.network.trainable_variables == []
    made.set_trainable(1, update_statistics=False)
    names = {variable.path.split("/")[0] for variable in made.network.trainable_variables}
    # The last resolution of MobileNetV2 begins with the stride of block 13.
    assert "Conv_1" in names and "block_14_expand" in names and "block_12_project" not in names
    made.set_trainable(-1, update_statistics=True)
    assert len(made.network.trainable_variables) > 100
    assert made.network.get_layer("bn_Conv1").momentum == encoder.FROM_SCRATCH_MOMENTUM


def test_statistics_stay_unless_they_are_to_be_learnt(images: np.ndarray) -> None:
    made = make_encoder(small(image_size=64), pooled=True)
    made.set_trainable(-1, update_statistics=True)
    before = made.fingerprint()
    made(images)
    assert made.fingerprint() == before
    made(images, update_statistics=True)
    assert made.fingerprint() != before
