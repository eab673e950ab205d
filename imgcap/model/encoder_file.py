"""Encoders from `.keras` files: only Keras' own layers, and of several outputs the grid."""

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from imgcap.errors import ConfigError

KERAS_SUFFIX = ".keras"
_CONFIG = "config.json"
"""The description of the layers inside a .keras file."""

_HDF5_START = b"\x89HDF\r\n\x1a\n"
_SAVE_AGAIN = "save the whole model by model.save('NAME.keras')"


def load_encoder_file(path: Path, image_size: int, output: str = "") -> keras.Model:
    """Reads a .keras file that maps images to a grid.

    Args:
        path: the file.
        image_size: height and width, in pixels, of the images; a network that was saved for any or
            another size is rebuilt for this one, with the same weights.
        output: name of the output to take; empty takes the only grid.

    Returns:
        A network from images float [B, H, W, 3] to a grid float [B, h, w, C], without the layers
        that only other outputs need.

    Raises:
        ConfigError: the file is missing, damaged, no such network, has layers that are not Keras'
            own, or layers that cannot take the size.
    """
    _refuse_foreign_layers(path, _read_config(path))
    try:
        # Without the safe mode, a Lambda layer would run any code that it brings along.
        network = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises nearly anything on a damaged file.
        raise ConfigError(f"{_cannot_load(path)}: {_first_line(error)}") from None
    if not isinstance(network, keras.Model) or not getattr(network, "inputs", None):
        raise ConfigError(
            f"--encoder={path} was never built, so it has neither sizes nor weights: call the "
            f"model on an image, such as model(numpy.zeros((1, {image_size}, {image_size}, 3))), "
            "then save it again"
        )
    _check_input(path, network)
    # A Sequential has one output, which it does not show as `output`.
    alone = isinstance(network, keras.Sequential)
    given = network.outputs[0] if alone else network.output
    chosen = _choose_output(path, _name_outputs(given), output)
    if chosen is not given or not alone and isinstance(network.input, list | dict):
        network = keras.Model(network.inputs[0], chosen)
    if _input_size(network) == (image_size, image_size):
        return network
    return _rebuild_for_size(path, network, image_size)


def describe_rebuilding(path: Path, image_size: int) -> str:
    """Says in a line that a network is rebuilt for images of another size than it was saved for.

    Args:
        path: a .keras file that `load_encoder_file` loads.
        image_size: height and width, in pixels, that it is loaded with.

    Returns:
        The line; empty if the network was saved for that size or for any.
    """
    layers = _read_config(path)["config"]["layers"]
    inputs = next(layer["config"] for layer in layers if layer["class_name"] == "InputLayer")
    saved = inputs["batch_shape"][1:3]
    if None in saved or saved == [image_size, image_size]:
        return ""
    return (
        f"{path} was saved for images of {saved[0]} × {saved[1]} pixels; it is rebuilt for "
        f"--image_size={image_size}"
    )


def _cannot_load(path: Path) -> str:
    return f"--encoder={path} is no Keras model that can be loaded"


def _first_line(error: Exception) -> str:
    """The first line of an error that says what is wrong; Keras begins with where, in colour."""
    lines = [re.sub(r"\x1b\[\d*m", "", line) for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].startswith("Exception encountered when calling"):
        del lines[0]
    return (lines or [type(error).__name__])[0][:200]


def _read_config(path: Path) -> Any:
    """Reads the description of the layers in a .keras file, without making any."""
    if not path.is_file():
        raise ConfigError(
            f"--encoder={path} is no file: give a .keras file or a keras.applications name"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read(_CONFIG))
    except Exception as error:  # A changed archive makes zipfile raise nearly anything.
        why = "it is an HDF5 file" if _starts_as_hdf5(path) else _first_line(error)
        raise ConfigError(f"{_cannot_load(path)} ({why}): {_SAVE_AGAIN}") from None


def _starts_as_hdf5(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_HDF5_START)) == _HDF5_START


def _refuse_foreign_layers(path: Path, config: Any) -> None:
    """Raises ConfigError if a file has layers that are not Keras' own, or Python code."""
    foreign = {}
    for node in _nodes(config):
        if _is_foreign(node):
            class_name, name = node["class_name"], node["config"].get("name")
            foreign[class_name] = f"{class_name} ({name})" if name else class_name
    if foreign:
        raise ConfigError(
            f"--encoder={path} has layers that are not Keras' own: {', '.join(foreign.values())}. "
            "Their code is not in the file, or would be run unseen: replace them by layers of "
            "Keras, such as Rescaling, and save it again"
        )


def _is_foreign(node: dict[str, Any]) -> bool:
    """Whether an object with settings is neither of Keras nor registered by the caller."""
    if not isinstance(node.get("config"), dict):
        return False  # A function of Keras, such as relu, is its name alone.
    if node["class_name"] == "Lambda":
        return True
    of_keras = (node["module"] or "").partition(".")[0] == "keras"
    return not of_keras and keras.saving.get_registered_object(node.get("registered_name")) is None


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """All descriptions of objects in a tree of JSON, at any depth."""
    if isinstance(tree, dict):
        if isinstance(tree.get("class_name"), str) and "module" in tree:
            yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def _check_input(path: Path, network: keras.Model) -> None:
    """Raises ConfigError unless a network takes one image, in colour."""
    shapes = [tuple(tensor.shape) for tensor in network.inputs]
    if len(shapes) > 1 or len(shapes[0]) != 4 or shapes[0][3] != 3:
        listed = " and ".join(map(str, shapes))
        raise ConfigError(
            f"--encoder={path} takes {listed}: needed is one input of images, [B, H, W, 3]"
        )


def _input_size(network: keras.Model) -> tuple[int | None, int | None]:
    """Height and width of the images that a network takes; None is any."""
    _, height, width, _ = network.inputs[0].shape
    return height, width


def _name_outputs(given: Any) -> list[tuple[str, Any]]:
    """Names the outputs of a network: by the key in a dict, else by the layer.

    Args:
        given: a symbolic tensor, or lists and dicts of them.

    Returns:
        Name and tensor of each.
    """
    found = []
    for place, tensor in keras.tree.flatten_with_path(given):
        keys = [str(key) for key in place if not isinstance(key, int)]
        found.append(("/".join(keys) or tensor._keras_history.operation.name, tensor))
    return found


def _choose_output(path: Path, outputs: list[tuple[str, Any]], name: str) -> Any:
    """The output of a name, or the only grid.

    Raises:
        ConfigError: there is no such output, it is no grid, or several are.
    """
    named = [output for output in outputs if name in ("", output[0])]
    grids = [output for output in named if len(output[1].shape) == 4]
    if len(grids) == 1:
        return grids[0][1]
    listed = ", ".join(f"{found} {tuple(tensor.shape)}" for found, tensor in outputs)
    if not named:
        raise ConfigError(
            f"--encoder_output={name} is no output of --encoder={path}: choose one of {listed}"
        )
    if grids:
        raise ConfigError(
            f"--encoder={path} gives several grids: choose one by --encoder_output ({listed})"
        )
    raise ConfigError(
        f"--encoder={path} gives {listed}: needed is a grid [B, h, w, C]; save it without its head "
        "(pooling, Dense)"
    )


def _rebuild_for_size(path: Path, network: keras.Model, image_size: int) -> keras.Model:
    """Builds a network anew for images of one size, from its description, with the same weights.

    Raises:
        ConfigError: a layer cannot take the size, or has weights for another alone.
    """
    try:
        rebuilt = keras.saving.deserialize_keras_object(_describe_for_size(network, image_size))
        for old, new in zip(network.variables, rebuilt.variables, strict=True):
            if old.shape != new.shape:
                layer = old.path.rpartition("/")[0]
                raise ValueError(f"the weights of its layer {layer} are for one size alone")
        rebuilt.set_weights(network.get_weights())
    except Exception as error:  # Keras raises nearly anything if a layer cannot take the size.
        raise ConfigError(_refuse_size(path, network, image_size, _first_line(error))) from None
    return rebuilt


def _describe_for_size(network: keras.Model, image_size: int) -> dict[str, Any]:
    """Describes the layers of a network, as Keras saves them, for images of one size."""
    # By way of JSON tuples become lists, and nothing is shared with the network.
    described = json.loads(json.dumps(keras.saving.serialize_keras_object(network)))
    resized = _without_sizes(described)
    for layer in resized["config"]["layers"]:
        if layer["class_name"] == "InputLayer":
            layer["config"]["batch_shape"][1:3] = image_size, image_size
    return resized


def _without_sizes(tree: Any) -> Any:
    """Copies a description, so that inputs take any size and layers are built by what they get."""
    if isinstance(tree, list):
        return [_without_sizes(value) for value in tree]
    if not isinstance(tree, dict):
        return tree
    copied = {
        name: _without_sizes(value)
        for name, value in tree.items()
        if name not in ("build_config", "build_input_shape")
    }
    if tree.get("class_name") == "InputLayer":
        batch, *sizes, channels = tree["config"]["batch_shape"]
        copied["config"]["batch_shape"] = [batch, *(None for _ in sizes), channels]
    return copied


def _refuse_size(path: Path, network: keras.Model, image_size: int, why: str) -> str:
    """Says why a network takes no images of a size, and what it needs."""
    height, width = _input_size(network)
    if height is None or width is None:
        return f"--encoder={path} can't take --image_size={image_size}: {why}"
    remedy = (
        f"give --image_size={height}"
        if height == width
        else "images are square here, so save it with a square input, or with one of any size"
    )
    return (
        f"--encoder={path} takes images of {height} × {width} pixels, not of "
        f"--image_size={image_size} ({why}): {remedy}"
    )
