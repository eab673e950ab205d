"""Finding an export: its newest version, and what tells it from another."""

import json
from typing import Any, NamedTuple

from imgcap.errors import ConfigError, ServingError
from imgcap.files.checked import digest_bytes, is_unchanged
from imgcap.files.locations import base_name, is_file, join, open_file, walk
from imgcap.files.model_folder import MANIFEST
from imgcap.host.cpu import missing_cpu_features

_GRAPH = "saved_model.pb"
_NO_LIMIT = 2**31 - 1


class Export(NamedTuple):
    """One version of an exported model.

    Attributes:
        folder: location of the version's folder.
        version: its number; 0 if the folder is not named with one.
        fingerprint: of what it says of itself.
        max_batch: images that it takes at a time.
    """

    folder: str
    version: int
    fingerprint: str
    max_batch: int


def find_export(model: str, version: int) -> Export:
    """Finds the version of a model to load.

    Args:
        model: location of a model's folder, with versions in it, or of one version.
        version: its number; 0 is the newest.

    Raises:
        ConfigError: there is none.
        ServingError: it was made for another CPU, or is damaged.
    """
    if is_file(join(model, _GRAPH)):
        folder = model
    else:
        found = _find_versions(model)
        if version and version not in found:
            raise ConfigError(f"--model_version={version} is not in {model}: it has {_list(found)}")
        if not found:
            raise ConfigError(f"--model={model} has no version of an export: run imgcap-export")
        folder = join(model, str(version or max(found)))
    name = base_name(folder)
    number = int(name) if name.isascii() and name.isdecimal() else 0
    return _describe(folder, number)


def _find_versions(model: str) -> list[int]:
    """The numbers of the versions in a model's folder, rising."""
    try:
        files = list(walk(model))
    except OSError as error:
        raise ConfigError(f"--model={model} cannot be read ({error.strerror or error})") from None
    folders = [path[len(join(model, "")) :].split("/")[0] for path in files]
    return sorted(
        int(name)
        for name, path in zip(folders, files, strict=True)
        if name.isascii() and name.isdecimal() and path == join(model, name, _GRAPH)
    )


def _list(versions: list[int]) -> str:
    return ", ".join(map(str, versions)) or "none"


def _describe(folder: str, version: int) -> Export:
    """Reads what a version says of itself, if imgcap-export wrote it."""
    manifest: dict[str, Any] = {}
    location = join(folder, MANIFEST)
    source = location if is_file(location) else join(folder, _GRAPH)
    with open_file(source) as file:
        content = file.read()
    if source == location:
        try:
            manifest = json.loads(content)
            unchanged = is_unchanged(manifest)
        except (ValueError, TypeError, AttributeError):
            unchanged = False
        if not unchanged:
            raise ServingError(f"{location} is damaged: export the model again")
    missing = missing_cpu_features(manifest.get("cpu_features", []))
    if missing:
        raise ServingError(
            f"{folder} needs a CPU with {', '.join(missing)}, which this machine lacks: caption "
            "elsewhere, or export with --optimize=none"
        )
    return Export(folder, version, digest_bytes(content), manifest.get("max_batch", _NO_LIMIT))
