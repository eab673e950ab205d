"""The folder of a served model: what an export writes there and a server finds.

Imported by both sides, which know nothing of each other; it needs no TensorFlow.

    models/imgcap/          the model's folder
    ├── 1/                  a version: a SavedModel
    │   ├── manifest.json
    │   └── assets.extra/tf_serving_warmup_requests
    └── 2/                  a newer one
"""

from pathlib import Path

MANIFEST = "manifest.json"
"""What a version says of itself."""

WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
"""Requests that a server runs on a version before it serves it."""


def find_versions(base_path: Path) -> dict[int, Path]:
    """Finds the versions of a model, as TensorFlow Serving does.

    Args:
        base_path: the model's folder; may be absent.

    Returns:
        The folders that are named with a number, by that number, rising.
    """
    if not base_path.is_dir():
        return {}
    found = {
        int(path.name): path
        for path in base_path.iterdir()
        if path.name.isascii() and path.name.isdecimal() and path.is_dir()
    }
    return dict(sorted(found.items()))
