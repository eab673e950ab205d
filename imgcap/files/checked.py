"""JSON files that carry a checksum of what they say: a changed digit is found, not believed."""

import hashlib
import json
from pathlib import Path
from typing import Any

from imgcap.errors import ImgcapError
from imgcap.files.writing import read_json, write_json

CHECKSUM = "checksum"
"""The key of the checksum in the object, its last one."""


def write_checked(path: Path | str, tree: dict[str, Any]) -> None:
    """Replaces a JSON file in one step, with a checksum in it.

    Args:
        path: the file, a path or an address; its folder must exist.
        tree: an object that JSON can hold.
    """
    # As it comes back from the file, which has texts for all keys.
    tree = json.loads(json.dumps(tree))
    write_json(path, {**tree, CHECKSUM: digest(tree)})


def read_checked(path: Path | str, error: type[ImgcapError], remedy: str) -> dict[str, Any]:
    """Reads what `write_checked` wrote, or an object without a checksum, as older versions wrote.

    Args:
        path: the file, a path or an address.
        error: the class to raise.
        remedy: what the user should do if it is missing or broken.

    Returns:
        The object, without the checksum.

    Raises:
        error: the file is missing, holds no object, or its checksum does not fit.
    """
    tree = read_json(path, error, remedy)
    if not isinstance(tree, dict):
        raise error(f"{path} holds no JSON object: {remedy}")
    if not is_unchanged(tree):
        raise error(f"{path} was changed or is damaged (its checksum does not fit): {remedy}")
    tree.pop(CHECKSUM, None)
    return tree


def is_unchanged(tree: dict[str, Any]) -> bool:
    """Whether an object as `write_checked` wrote it has its checksum, or is of before them."""
    if CHECKSUM not in tree:
        # Damage may have hit the key itself, and something else as well.
        last = next(reversed(tree), "")
        same = sum(a == b for a, b in zip(last, CHECKSUM, strict=False))
        return len(last) != len(CHECKSUM) or same < len(CHECKSUM) // 2
    others = {name: value for name, value in tree.items() if name != CHECKSUM}
    return tree[CHECKSUM] == digest(others)


def digest(tree: object) -> str:
    """Computes the checksum of a tree, in whatever order its keys come: 16 hex digits."""
    text = json.dumps(tree, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def digest_bytes(content: bytes) -> str:
    """Computes the checksum of a file's content: 16 hex digits."""
    return hashlib.sha256(content).hexdigest()[:16]
