"""Writing files in one step (under another name, then renamed), and reading JSON with a remedy."""

import json
from pathlib import Path
from typing import Any

from imgcap.errors import ImgcapError
from imgcap.files.locations import is_remote, open_file
from imgcap.files.names import ESCAPED
from imgcap.files.unfinished import unfinished_file


def write_text(path: Path | str, text: str) -> None:
    r"""Replaces a text file in one step.

    Args:
        path: the file, a path or an address; its folder must exist.
        text: what it will hold, in UTF-8; of a path that is no UTF-8, bytes become `\xe9`.
    """
    write_bytes(path, text.encode("utf-8", ESCAPED))


def write_bytes(path: Path | str, content: bytes) -> None:
    """Replaces a file in one step; a reader sees the old content or the new, never half of it.

    At an address it is the store that keeps this promise: buckets do.

    Args:
        path: the file, a path or an address; its folder must exist.
        content: what it will hold.
    """
    if is_remote(str(path)):
        with open_file(str(path), "wb") as file:
            file.write(content)
        return
    path = Path(path)
    if path.is_symlink():
        # The link stays, and the file that it names is replaced.
        path = path.resolve()
    with unfinished_file(path) as unfinished:
        unfinished.write_bytes(content)


def write_json(path: Path | str, tree: Any) -> None:
    """Replaces a JSON file in one step, indented for people.

    Args:
        path: the file, a path or an address; its folder must exist.
        tree: what JSON can hold.
    """
    write_bytes(path, to_json(tree, indent=2) + b"\n")


def to_json(tree: Any, indent: int | None = None) -> bytes:
    """Makes JSON for people and programs: text as it reads, in UTF-8.

    Args:
        tree: what JSON can hold. Of a path that is no UTF-8, the other bytes become escapes such as
            \\udce9, which Python's reader turns into that path again.
        indent: columns of a level; None puts all into one line.
    """
    return json.dumps(tree, indent=indent, ensure_ascii=False).encode("utf-8", "backslashreplace")


def read_json(path: Path | str, error: type[ImgcapError], remedy: str) -> Any:
    """Reads a JSON file.

    Args:
        path: the file, a path or an address.
        error: the class to raise.
        remedy: what the user should do if it is missing or broken.

    Returns:
        The tree that it holds.

    Raises:
        error: the file is missing or is no JSON.
    """
    try:
        with open_file(str(path)) as file:
            return json.loads(file.read().decode("utf-8"))
    except FileNotFoundError:
        raise error(f"{path} is missing: {remedy}") from None
    except (OSError, ValueError) as cause:
        raise error(f"{path} can't be read ({cause}): {remedy}") from None
