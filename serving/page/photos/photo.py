"""A photograph that a visitor gave, and the file that it came in."""

import re
from collections.abc import Callable, Collection
from typing import NamedTuple

_SHOWN_LETTERS = 100


class File(NamedTuple):
    """A file as it was given.

    Attributes:
        path: folders and name, as the visitor's browser or an archive calls it; never opened.
        size: bytes, as they are declared.
        read: returns the file's bytes; raises `UnreadableFile` if an archive is damaged.
    """

    path: str
    size: int
    read: Callable[[], bytes]


class Photo(NamedTuple):
    """A photo on the page.

    Attributes:
        name: what the page calls it; no other photo of the visit has the same.
        digest: a hash of its file, which tells photos apart whatever they are called.
    """

    name: str
    digest: str


class UnreadableFile(ValueError):
    """A file that cannot be read; the text is a sentence for the visitor."""


def file_of(path: str, content: bytes) -> File:
    """Wraps bytes that are in memory already."""
    return File(path, len(content), lambda: content)


def last_part(path: str) -> str:
    """The name without its folders, cut to a length that a sentence can hold."""
    name = split_path(path)[-1] or "photo"
    return name if len(name) <= _SHOWN_LETTERS else f"{name[: _SHOWN_LETTERS - 1]}…"


def split_path(path: str) -> list[str]:
    """The parts of a path, whichever system wrote it."""
    return re.split(r"[/\\]", path)


def name_apart(path: str, taken: Collection[str]) -> str:
    """Finds a name for a photo that no other one has.

    Args:
        path: of its file.
        taken: the names of the others.

    Returns:
        The file's name; if that is taken, with its folder in front; else with a number.
    """
    name = last_part(path)
    folder = next(iter(split_path(path)[-2:-1]), "")
    names = [name, f"{folder}/{name}"] if folder else [name]
    free = next((each for each in names if each not in taken), "")
    number = 2
    while not free:
        numbered = f"{name} ({number})"
        free = "" if numbered in taken else numbered
        number += 1
    return free
