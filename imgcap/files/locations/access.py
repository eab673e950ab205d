"""What is done with files, wherever they are."""

import fnmatch
import glob
import os
import posixpath
import re
from collections.abc import Iterator
from typing import BinaryIO

from imgcap.errors import DataError
from imgcap.files.locations.file_system import FileSystem
from imgcap.files.locations.local import Local
from imgcap.files.locations.remote import Beam, Tensorflow

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_WILD = re.compile(r"[*?\[]")


def is_remote(location: str) -> bool:
    """Whether a location is an address of another file system, such as `gs://bucket/file`."""
    return _ADDRESS.match(location) is not None


def has_pattern(location: str) -> bool:
    """Whether a location has one of the wildcards `*`, `?` and `[`."""
    return _WILD.search(location) is not None


def join(location: str, *names: str) -> str:
    """Joins a folder and names below it; absolute names replace it, as `os.path.join` does."""
    if is_remote(location):
        return posixpath.join(location, *names)
    return os.path.join(location, *names)


def base_name(location: str) -> str:
    """The last name of a location."""
    return os.path.basename(location.rstrip("/"))


def open_file(location: str, mode: str = "rb") -> BinaryIO:
    """Opens a file for reading bytes (`rb`) or for writing it anew (`wb`).

    Raises:
        OSError: it cannot be opened.
        DataError: no file system is installed for its scheme.
    """
    return _files_of(location).open(location, mode)


def file_size(location: str) -> int:
    """The bytes of a file; OSError if there is none, DataError if its scheme is unknown."""
    return _files_of(location).size(location)


def is_file(location: str) -> bool:
    """Whether there is a file."""
    try:
        file_size(location)
    except OSError:
        return False
    return True


def is_folder(location: str) -> bool:
    """Whether there is a folder; in a bucket, whether a file lies below the address."""
    return _files_of(location).is_folder(location)


def list_folder(folder: str) -> list[str]:
    """The names that lie directly in a folder, sorted; those of folders end in `/`.

    Raises:
        OSError: there is no such folder.
    """
    return sorted(_files_of(folder).names(folder))


def walk(folder: str) -> Iterator[str]:
    """Yields the locations of the files in a folder, at any depth, in sorted order.

    Links to folders are followed, but not to one that they lie in.

    Raises:
        OSError: there is no such folder.
    """
    yield from _files_of(folder).walk(folder)


def find_files(pattern: str) -> Iterator[str]:
    """Yields the files that a pattern matches, in sorted order; `**` stands for any depth.

    Args:
        pattern: with `*`, `?` or `[…]`; without them it is yielded if it is a file.
    """
    if not has_pattern(pattern):
        if is_file(pattern):
            yield pattern
        return
    if not is_remote(pattern):
        yield from (path for path in sorted(glob.glob(pattern, recursive=True)) if is_file(path))
        return
    fixed = _WILD.split(pattern)[0].rpartition("/")[0]
    if "://" not in fixed:
        raise DataError(f"{pattern}: the bucket must be named, not matched")
    matcher = _compile(pattern)
    if is_folder(fixed):
        yield from (location for location in walk(fixed) if matcher.fullmatch(location))


def rename(source: str, target: str) -> None:
    """Gives a file another name, replacing what has it; both on one file system."""
    _files_of(source).rename(source, target)


def remove(location: str) -> None:
    """Removes a file; it is no error if there is none."""
    if is_file(location):
        _files_of(location).remove(location)


def make_folder(location: str) -> None:
    """Makes a folder and those above it; it is no error if it exists."""
    _files_of(location).make_folder(location)


def _compile(pattern: str) -> re.Pattern[str]:
    """The regular expression of a pattern; unlike `fnmatch`, `*` ends at a slash."""
    text = ""
    for piece in re.split(r"(\*\*/|\*|\?|\[[^\]]*\])", pattern):
        if piece == "**/":
            text += "(?:.*/)?"
        elif piece in ("*", "?"):
            text += "[^/]" + ("*" if piece == "*" else "")
        else:
            text += fnmatch.translate(piece)[4:-3] if piece.startswith("[") else re.escape(piece)
    return re.compile(text, re.DOTALL)


def _files_of(location: str) -> FileSystem:
    """The file system of a location; DataError if none of its scheme is installed."""
    scheme = _ADDRESS.match(location)
    if scheme is None:
        return Local()
    tensorflow = Tensorflow.find(scheme[1])
    if tensorflow is not None:
        return tensorflow
    return Beam.find(location)
