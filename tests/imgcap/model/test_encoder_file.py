"""Encoders from .keras files as people have them: several outputs, other sizes, foreign layers."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from imgcap.config import ModelConfig
from imgcap.errors import ConfigError
from imgcap.model.encoder import Encoder, make_encoder
from imgcap.model.encoder_file import describe_rebuilding
from tests.support.paths import ALL_AT_ONCE, HOSTILE_NAMES

SIZE = 32
IMAGES = np.random.default_rng(0).uniform(0, 255, [2, SIZE, SIZE, 3]).astype(np.float32)

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Saves a model from an input and what a function makes of it; returns the file."""

    def save_model(outputs: Callable[..., object], *shape: int | None, name: str = "e") -> Path:
        inputs = keras.Input(shape or (SIZE, SIZE, 3), name="image")
        keras.Model(inputs, outputs(inputs)).save(tmp_path / f"{name}.keras")
        return tmp_path / f"{name}.keras"

    return save_model


def grid(images: object, name: str = "grid", strides: int = 8) -> object:
    return keras.layers.Conv2D(6, 3, strides=strides, name=name)(images)


def pool(features: object) -> object:
    return keras.layers.GlobalAveragePooling2D(name="pooled")(features)


def load(path: Path, output: str = "", size: int = SIZE) -> Encoder:
    config = ModelConfig(encoder=str(path), encoder_output=output, image_size=size)
    config.validate()
    return make_encoder(config, pooled=False)


def refusal(path: Path, output: str = "", size: int = SIZE) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, output, size)
    said = str(caught.value)
    assert "\n" not in said
    assert str(path) in said
    return said


def in_a_dict(images: object) -> object:
    found = grid(images)
    return {"pooled": pool(found), "grid": found}


def in_a_list(images: object) -> object:
    found = grid(images)
    return [pool(found), found]


def alone_in_a_dict(images: object) -> object:
    return {"features": grid(images)}


@pytest.mark.parametrize("outputs", [in_a_dict, in_a_list, alone_in_a_dict])
def test_of_several_outputs_the_grid_is_taken(outputs: Callable[..., object], save: Save) -> None:
    path = save(outputs)
    original = keras.saving.load_model(path)
    expected = keras.Model(original.inputs[0], original.get_layer("grid").output)(IMAGES)
    made = load(path)
    assert made.features_shape == (16, 6)
    np.testing.assert_allclose(made(IMAGES), np.reshape(expected, [2, 16, 6]), atol=1e-5)


def test_an_input_in_a_dict_is_taken_without_a_warning(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    images = keras.Input((SIZE, SIZE, 3))
    keras.Model({"image": images}, grid(images)).save(tmp_path / "e.keras")
    assert load(tmp_path / "e.keras")(IMAGES).shape == (2, 16, 6)
    assert not [one for one in recwarn if "structure" in str(one.message)]


def two_grids(images: object) -> object:
    coarse = grid(grid(images, "c4"), "c5", strides=4)
    return {"levels": {"c4": images, "c5": coarse}, "pooled": pool(coarse)}


def test_of_several_grids_a_flag_chooses(save: Save) -> None:
    path = save(two_grids)
    said = refusal(path)
    assert "gives several grids: choose one by --encoder_output (levels/c4 (None, 32" in said
    assert load(path, "levels/c5").features_shape == (1, 6)
    assert "needed is a grid [B, h, w, C]; save it without its head" in refusal(path, "pooled")
    assert refusal(path, "c6").startswith(
        f"--encoder_output=c6 is no output of --encoder={path}: choose one of levels/c4 (None, 32"
    )


def test_layers_that_only_other_outputs_need_are_left_out(save: Save) -> None:
    def outputs(images: object) -> object:
        found = grid(images)
        return [found, keras.layers.Dense(100, name="head")(pool(found))]

    assert [layer.name for layer in load(save(outputs)).network.layers] == ["image", "grid"]


def test_a_network_for_any_size_is_fixed_to_one(save: Save) -> None:
    path = save(lambda images: keras.layers.BatchNormalization()(grid(images)), None, None, 3)
    original = keras.saving.load_model(path)
    original.layers[-1].set_weights([np.arange(6.0) + place for place in range(1, 5)])
    original.save(path)
    expected = original(IMAGES, training=False)
    made = load(path)
    assert made.network.input_shape == (None, SIZE, SIZE, 3)
    np.testing.assert_allclose(made(IMAGES), np.reshape(expected, [2, 16, 6]), rtol=1e-5)
    assert load(path, size=64).features_shape == (64, 6)


def nested(images: object) -> object:
    """Normalised outside of a network that has a size of its own."""
    inputs = keras.Input(images.shape[1:])
    inner = keras.Model(inputs, keras.layers.BatchNormalization(name="norm")(grid(inputs)))
    return inner(keras.layers.Rescaling(1 / 255)(images))


def two_branches(images: object) -> object:
    found = keras.layers.BatchNormalization(name="norm")(grid(images))
    pooled = pool(found)
    gate = keras.layers.Reshape((1, 1, 6))(keras.layers.Dense(6, name="gate")(pooled))
    return {"grid": found * gate, "pooled": pooled}


@pytest.mark.parametrize("outputs", [grid, nested, two_branches])
@pytest.mark.parametrize("shape", [(64, 64, 3), (48, 64, 3)])
def test_a_network_for_another_size_is_rebuilt(
    outputs: Callable[..., object], shape: tuple[int, ...], save: Save
) -> None:
    path = save(outputs, *shape)
    original = keras.saving.load_model(path)
    drawn = np.random.default_rng(1)
    weights = [drawn.uniform(0.5, 1, values.shape) for values in original.get_weights()]
    original.set_weights(weights)
    original.save(path)
    layers = {layer.name: layer for layer in original._flatten_layers()}
    expected = layers["grid"](IMAGES / 255 if outputs is nested else IMAGES)
    if "norm" in layers:
        expected = layers["norm"](expected, training=False)
    if "gate" in layers:
        expected *= layers["gate"](np.mean(expected, axis=(1, 2)))[:, None, None]
    made = load(path)
    assert made.network.input_shape == (None, SIZE, SIZE, 3) and made.features_shape == (16, 6)
    np.testing.assert_allclose(made(IMAGES), np.reshape(expected, [2, 16, 6]), rtol=1e-5)
    for wanted, got in zip(original.variables, made.variables, strict=False):
        np.testing.assert_array_equal(got, wanted)
    # What is saved of it needs no rebuilding, and the file takes its weights.
    made.network.load_weights(path)
    made.network.save(path)
    assert load(path).fingerprint() == made.fingerprint()
    assert describe_rebuilding(path, SIZE) == ""


def test_says_that_it_is_rebuilt(save: Save) -> None:
    path = save(grid, 64, 48, 3)
    assert describe_rebuilding(path, SIZE) == (
        f"{path} was saved for images of 64 × 48 pixels; it is rebuilt for --image_size=32"
    )
    assert describe_rebuilding(save(grid, None, None, 3), SIZE) == ""


def test_mixed_precision_inside_gives_float32(save: Save) -> None:
    def outputs(images: object) -> object:
        half = keras.dtype_policies.DTypePolicy("mixed_bfloat16")
        return keras.layers.Conv2D(6, 3, strides=8, dtype=half, name="grid")(images)

    path = save(outputs)
    kernel = keras.saving.load_model(path).get_layer("grid").get_weights()[0]
    patch = IMAGES[0, :3, :3]
    made = load(path)(IMAGES)
    assert made.dtype == "float32"
    size = np.abs(patch[..., None] * kernel).sum(axis=(0, 1, 2))
    exact = (patch[..., None] * kernel).sum(axis=(0, 1, 2))
    # bfloat16 has 8 bits: each factor and the sum is off by at most 2^-9 of its size.
    np.testing.assert_array_less(np.abs(made[0, 0] - exact), 2**-7 * size)


def test_a_model_that_was_never_built(tmp_path: Path) -> None:
    path = tmp_path / "e.keras"
    with pytest.warns(UserWarning, match="not yet been built"):
        keras.Sequential([keras.layers.Conv2D(8, 3)]).save(path)
    assert refusal(path) == (
        f"--encoder={path} was never built, so it has neither sizes nor weights: call the model on "
        "an image, such as model(numpy.zeros((1, 32, 32, 3))), then save it again"
    )


class Doubling(keras.layers.Layer):
    """A layer of somebody's own, whose code is in no file."""

    def call(self, images: object) -> object:
        return 2 * images


def test_layers_of_others_are_refused_by_name_and_lambdas_never_run(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = save(lambda images: grid(Doubling(name="twice")(images)))
    assert "has layers that are not Keras' own: Doubling (twice). " in refusal(own)
    monkeypatch.chdir(tmp_path)
    evil = keras.layers.Lambda(lambda x: (__import__("os").mkdir("ran"), x)[1], name="run")
    path = save(lambda images: grid(evil(images)))
    (tmp_path / "ran").rmdir()
    assert "has layers that are not Keras' own: Lambda (run). " in refusal(path)
    assert not (tmp_path / "ran").exists()


def test_layers_that_the_caller_registered_are_taken(save: Save) -> None:
    with keras.saving.custom_object_scope({"Doubling": Doubling}):
        path = save(lambda images: grid(Doubling(name="twice")(images)))
        assert load(path).features_shape == (16, 6)


def with_positions(images: object) -> object:
    """A table of positions for the 8 × 8 places of a picture of 64 pixels alone."""
    places = keras.layers.Reshape((64, 6))(grid(images))
    return keras.layers.Reshape((8, 8, 6))(places + np.arange(64, dtype=np.float32)[:, None])


def flattened(images: object) -> object:
    mixed = keras.layers.Dense(48, name="mixed")(keras.layers.Flatten()(images))
    return keras.layers.Reshape((4, 4, 3))(mixed)


@pytest.mark.parametrize(
    ("outputs", "shape", "message"),
    [
        (grid, (SIZE, SIZE, 1), "takes (None, 32, 32, 1): needed is one input of images"),
        (
            with_positions,
            (64, 64, 3),
            "takes images of 64 × 64 pixels, not of --image_size=32 (The total size of the tensor "
            "must be unchanged. Received: input_shape=(4, 4, 6), target_shape=(64, 6)): give "
            "--image_size=64",
        ),
        (
            flattened,
            (32, 64, 3),
            "takes images of 32 × 64 pixels, not of --image_size=32 (the weights of its layer "
            "mixed are for one size alone): images are square here, so save it with a square in",
        ),
        (lambda images: pool(grid(images)), (), "gives pooled (None, 6): needed is a grid"),
    ],
)
def test_networks_that_do_not_fit(
    outputs: Callable[..., object], shape: tuple[int, ...], message: str, save: Save
) -> None:
    assert message in refusal(save(outputs, *shape))


def test_a_network_of_two_inputs(tmp_path: Path) -> None:
    images, numbers = keras.Input((SIZE, SIZE, 3)), keras.Input((4,))
    keras.Model([images, numbers], [grid(images), numbers]).save(tmp_path / "e.keras")
    assert "takes (None, 32, 32, 3) and (None, 4): needed is one" in refusal(tmp_path / "e.keras")


def test_a_layer_that_cannot_take_the_size(save: Save) -> None:
    path = save(lambda images: keras.layers.MaxPooling2D(40)(grid(images)), None, None, 3)
    assert "can't take --image_size=32: " in refusal(path)


def test_files_that_hold_no_model(save: Save, tmp_path: Path) -> None:
    whole = save(grid)
    network = keras.saving.load_model(whole)
    network.save_weights(tmp_path / "e.weights.h5")
    (tmp_path / "weights.keras").write_bytes((tmp_path / "e.weights.h5").read_bytes())
    said = refusal(tmp_path / "weights.keras")
    assert said.endswith("(it is an HDF5 file): save the whole model by model.save('NAME.keras')")
    assert refusal(tmp_path / "e.weights.h5").endswith(
        "or give weights alone as --encoder_weights, and the name of their network as --encoder"
    )
    (tmp_path / "cut.keras").write_bytes(whole.read_bytes()[:-100])
    assert "is no Keras model that can be loaded (" in refusal(tmp_path / "cut.keras")
    (tmp_path / "folder.keras").mkdir()
    assert "is no file: give a .keras file" in refusal(tmp_path / "folder.keras")
    with zipfile.ZipFile(whole) as archive, zipfile.ZipFile(tmp_path / "h.keras", "w") as other:
        other.writestr("config.json", archive.read("config.json"))
        other.writestr("metadata.json", archive.read("metadata.json"))
        other.writestr("model.weights.h5", b"nothing")
    assert "is no Keras model that can be loaded: " in refusal(tmp_path / "h.keras")


def test_an_output_is_chosen_of_files_alone() -> None:
    with pytest.raises(ConfigError, match=re.escape("--encoder_output=x is about a .keras file")):
        ModelConfig(encoder_output="x").validate()


@pytest.mark.parametrize("name", [*HOSTILE_NAMES, ALL_AT_ONCE])
def test_files_of_any_name(name: str, save: Save, tmp_path: Path) -> None:
    path = tmp_path / f"{name[:240]}.keras"
    save(grid).rename(path)
    made = load(path)
    made.network.load_weights(path)
    made.network.save(path)
    assert load(path).fingerprint() == made.fingerprint()
