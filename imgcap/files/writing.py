"""Writing files in one step (under another name, then renamed), and reading JSON with a remedy."""

import json
import os
from pathlib import Path
from typing import Any

from imgcap.errors import ImgcapError


def write_text(path: Path, text: str) -> None:
    """Replaces a text file in one step.

    Args:
        path: the file; its folder must exist.
        text: UTF-8 content.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces a file in one step; a reader sees the old content or the new, never half of it.

    Args:
        path: the file; its folder must exist.
        content: what it will hold.
    """
    # The process's number keeps two writers of one file from renaming each other's unfinished work.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def write_json(path: Path, tree: Any) -> None:
    """Replaces a JSON file in one step, indented for people.

    Args:
        path: the file; its folder must exist.
        tree: what JSON can hold.
    """
    write_text(path, json.dumps(tree, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path, error: type[ImgcapError], remedy: str) -> Any:
    """Reads a JSON file.

    Args:
        path: the file.
        error: the class to raise.
        remedy: what the user should do if it is missing or broken.

    Returns:
        The tree that it holds.

    Raises:
        error: the file is missing or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(f"{path} is missing: {remedy}") from None
    except (OSError, ValueError) as cause:
        raise error(f"{path} can't be read ({cause}): {remedy}") from None
