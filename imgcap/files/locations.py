"""Places of files: paths of this machine, and addresses of buckets and clusters (`gs://a/b`).

An address is a text and stays one: `pathlib` would make `gs:/a/b` of it. Its files are reached
through TensorFlow's file systems (`ram://`, `gs://`) or, for schemes that TensorFlow lacks, through
Apache Beam's (`s3://`, `hdfs://`), whichever is installed.
"""

import fnmatch
import glob
import os
import posixpath
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol

from imgcap.errors import DataError

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_WILD = re.compile(r"[*?\[]")


class FileSystem(Protocol):
    """What is asked of the files of one scheme; locations are whole addresses."""

    def open(self, location: str, mode: str) -> BinaryIO: ...  # 'rb' or 'wb'
    def size(self, location: str) -> int: ...  # bytes; OSError if it is no file
    def is_folder(self, location: str) -> bool: ...
    def names(
        self, folder: str
    ) -> Iterator[str]: ...  # in it; folders end in "/"
    def walk(self, folder: str) -> Iterator[str]: ...  # files at any depth, sorted
    def rename(self, source: str, target: str) -> None: ...
    def remove(self, location: str) -> None: ...
    def make_folder(self, location: str) -> None: ...


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
    """The names that lie directly in a folder, sorted; those of folders end in `/`."""
    return sorted(_files_of(folder).names(folder))


def walk(folder: str) -> Iterator[str]:
    """Yields the locations of the files in a folder, at any depth, in sorted order."""
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
    fixed = pattern[: _WILD.search(pattern).start()].rpartition("/")[0]  # type: ignore[union-attr]  # it has one
    matcher = _compile(pattern)
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
        return _Local()
    tensorflow = _Tensorflow.find(scheme[1])
    if tensorflow is not None:
        return tensorflow
    return _Beam.find(location)


class _Local:
    """Files of this machine."""

    def open(self, location: str, mode: str) -> BinaryIO:
        return open(location, mode)  # type: ignore[return-value]  # a binary mode

    def size(self, location: str) -> int:
        if os.path.isdir(location):
            raise IsADirectoryError(f"{location} is a folder")
        return os.stat(location).st_size

    def is_folder(self, location: str) -> bool:
        return os.path.isdir(location)

    def names(self, folder: str) -> Iterator[str]:
        for entry in os.scandir(folder):
            yield entry.name + ("/" if entry.is_dir() else "")

    def walk(self, folder: str) -> Iterator[str]:
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.is_dir():
                yield from self.walk(entry.path)
            elif entry.is_file():
                yield entry.path

    def rename(self, source: str, target: str) -> None:
        os.replace(source, target)

    def remove(self, location: str) -> None:
        os.remove(location)

    def make_folder(self, location: str) -> None:
        os.makedirs(location, exist_ok=True)


class _Tensorflow:
    """Files of the schemes that TensorFlow knows."""

    def __init__(self, files: Any) -> None:
        self._files = files

    @classmethod
    def find(cls, scheme: str) -> "_Tensorflow | None":
        """The file system of a scheme; None if TensorFlow is absent or lacks it."""
        try:
            from tensorflow.io import gfile
        except ImportError:
            return None
        return cls(gfile) if scheme in gfile.get_registered_schemes() else None

    def open(self, location: str, mode: str) -> BinaryIO:
        if mode == "rb":
            self.size(location)  # GFile opens when it is first read: an absent file must fail here
        return self._files.GFile(location, mode)

    def size(self, location: str) -> int:
        from tensorflow.errors import OpError

        try:
            found = self._files.stat(location)
        except OpError as error:
            raise FileNotFoundError(f"{location}: {error.message}") from None
        if found.is_directory:
            raise IsADirectoryError(f"{location} is a folder")
        return found.length

    def is_folder(self, location: str) -> bool:
        return self._files.isdir(location)

    def names(self, folder: str) -> Iterator[str]:
        for name in map(str, self._files.listdir(folder)):
            # A name with a dot is taken for a file's: to ask is a request for each image.
            known = name.endswith("/") or "." in name
            a_folder = not known and self._files.isdir(posixpath.join(folder, name))
            yield name + ("/" if a_folder else "")

    def walk(self, folder: str) -> Iterator[str]:
        for name in sorted(self._files.listdir(folder)):
            location = posixpath.join(folder, name.rstrip("/"))
            if self._files.isdir(location):
                yield from self.walk(location)
            else:
                yield location

    def rename(self, source: str, target: str) -> None:
        self._files.rename(source, target, overwrite=True)

    def remove(self, location: str) -> None:
        self._files.remove(location)

    def make_folder(self, location: str) -> None:
        self._files.makedirs(location)


class _Beam:
    """Files of the schemes that an installed part of Apache Beam knows."""

    def __init__(self, files: Any) -> None:
        self._files = files

    @classmethod
    def find(cls, location: str) -> "_Beam":
        """The file system of an address; DataError if none is installed."""
        scheme = location.partition("://")[0]
        unknown = DataError(
            f"{location}: no file system for {scheme}:// is installed: pip install the part of "
            "Apache Beam that has it (apache-beam[gcp], [aws], [azure] or [hadoop])"
        )
        try:
            from apache_beam.io import filesystems
        except ImportError:
            raise unknown from None
        try:
            filesystems.FileSystems.get_filesystem(location)
        except Exception:  # ValueError, or what the missing part's import raised
            raise unknown from None
        return cls(filesystems.FileSystems)

    def open(self, location: str, mode: str) -> BinaryIO:
        # Whole bytes: Beam would unpack what ends in .gz by itself.
        options = {"mime_type": "application/octet-stream", "compression_type": "uncompressed"}
        return (self._files.open if mode == "rb" else self._files.create)(location, **options)

    def size(self, location: str) -> int:
        found = self._files.match([location])[0].metadata_list
        if not found:
            raise FileNotFoundError(f"{location} is missing")
        return found[0].size_in_bytes

    def is_folder(self, location: str) -> bool:
        pattern = posixpath.join(location, "**")
        return bool(self._files.match([pattern], limits=[1])[0].metadata_list)

    def names(self, folder: str) -> Iterator[str]:
        """Yields the files alone: Beam matches no folders."""
        found = self._files.match([posixpath.join(folder, "*")])[0].metadata_list
        yield from (posixpath.basename(entry.path) for entry in found)

    def walk(self, folder: str) -> Iterator[str]:
        found = self._files.match([posixpath.join(folder, "**")])[0].metadata_list
        yield from sorted(entry.path for entry in found)

    def rename(self, source: str, target: str) -> None:
        if self._files.exists(target):
            self._files.delete([target])
        self._files.rename([source], [target])

    def remove(self, location: str) -> None:
        self._files.delete([location])

    def make_folder(self, location: str) -> None:
        """Does nothing: the stores that Beam reaches have no folders, or make them alone."""
