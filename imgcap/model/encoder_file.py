"""Encoders from `.keras` files: only Keras' own layers, and of several outputs the grid."""

import json
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
        image_size: height and width, in pixels, of the images; a network that takes any size is
            fixed to this one.
        output: name of the output to take; empty takes the only grid.

    Returns:
        A network from images float [B, H, W, 3] to a grid float [B, h, w, C], without the layers
        that only other outputs need.

    Raises:
        ConfigError: the file is missing, damaged, no such network, or has layers that are not
            Keras' own.
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
    _check_input(path, network, image_size)
    # A Sequential has one output, which it does not show as `output`.
    alone = isinstance(network, keras.Sequential)
    given = network.outputs[0] if alone else network.output
    chosen = _choose_output(path, _name_outputs(given), output)
    if chosen is not given or not alone and isinstance(network.input, list | dict):
        network = keras.Model(network.inputs[0], chosen)
    return network if None not in network.input_shape[1:] else _fix_size(path, network, image_size)


def _cannot_load(path: Path) -> str:
    return f"--encoder={path} is no Keras model that can be loaded"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


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


def _check_input(path: Path, network: keras.Model, image_size: int) -> None:
    """Raises ConfigError unless a network takes one image of that size, in colour."""
    shapes = [tuple(tensor.shape) for tensor in network.inputs]
    shape = shapes[0]
    if len(shapes) > 1 or len(shape) != 4 or shape[3] != 3:
        listed = " and ".join(map(str, shapes))
        raise ConfigError(
            f"--encoder={path} takes {listed}: needed is one input of images, [B, H, W, 3]"
        )
    if any(side not in (None, image_size) for side in shape[1:3]):
        remedy = (
            f"give --image_size={shape[1]}"
            if shape[1] == shape[2]
            else "images are square here, so save it with a square input, or with one of any size"
        )
        raise ConfigError(
            f"--encoder={path} takes images of {shape[1]} × {shape[2]} pixels, not of "
            f"--image_size={image_size}: {remedy}"
        )


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


def _fix_size(path: Path, network: keras.Model, image_size: int) -> keras.Model:
    """Copies a network of images of any size for images of one size."""
    images = keras.Input((image_size, image_size, 3), dtype=network.inputs[0].dtype)
    try:
        fixed = keras.models.clone_model(network, input_tensors=images)
        fixed.set_weights(network.get_weights())
    except Exception as error:  # Keras raises nearly anything if a layer cannot take the size.
        raise ConfigError(
            f"--encoder={path} can't take --image_size={image_size}: {_first_line(error)}"
        ) from None
    return fixed
