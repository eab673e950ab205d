"""Places of files: paths of this machine, and addresses of buckets and clusters (`gs://a/b`).

An address is a text and stays one: `pathlib` would make `gs:/a/b` of it. Its files are reached
through TensorFlow's file systems (`ram://`, `gs://`) or, for schemes that TensorFlow lacks, through
Apache Beam's (`s3://`, `hdfs://`), whichever is installed.
"""

import contextlib
import errno
import fnmatch
import glob
import io
import os
import posixpath
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol

from imgcap.errors import DataError

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_WILD = re.compile(r"[*?\[]")
_BUFFER = 1 << 18
"""Bytes that are read at a time from files of other file systems."""


class FileSystem(Protocol):
    """What is asked of the files of one scheme; locations are whole addresses.

    Whatever fails raises an OSError that names the location.
    """

    def open(self, location: str, mode: str) -> BinaryIO: ...  # 'rb' or 'wb'
    def size(self, location: str) -> int: ...  # bytes; OSError if it is no file
    def is_folder(self, location: str) -> bool: ...
    def names(self, folder: str) -> Iterator[str]: ...  # in it; folders end in "/"
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


@contextlib.contextmanager
def _as_os_error(location: str) -> Iterator[None]:
    """Lets what a library raises of a file appear as the OSError that names it."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno or errno.EPROTO, _first_line(error), location) from None
    except Exception as error:  # Each library has errors of its own, without a common parent.
        number = _NUMBERS.get(type(error).__name__, errno.EPROTO)
        text = _first_line(error) if number == errno.EPROTO else os.strerror(number)
        raise OSError(number, text, location) from None


_NUMBERS = {
    "NotFoundError": errno.ENOENT,
    "PermissionDeniedError": errno.EACCES,
    "UnauthenticatedError": errno.EACCES,
    "FailedPreconditionError": errno.EISDIR,
}
"""Names of TensorFlow's errors to those of the system."""


def _first_line(error: Exception) -> str:
    """The first line of an error's text, or its kind if it has none."""
    return str(getattr(error, "message", error)).strip().partition("\n")[0] or type(error).__name__


class _RemoteFile(io.RawIOBase):
    """A file of another file system, as Python's own buffers read and write it."""

    def __init__(self, file: Any, location: str, mode: str) -> None:
        """Wraps an open file.

        Args:
            file: has `read` or `write`, and `close`.
            location: its address.
            mode: 'rb' or 'wb'.
        """
        self._file, self._location, self._mode = file, location, mode

    def readable(self) -> bool:
        return self._mode == "rb"

    def writable(self) -> bool:
        return self._mode == "wb"

    def seekable(self) -> bool:
        return self._mode == "rb" and hasattr(self._file, "seek")

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _as_os_error(self._location):
            self._file.seek(offset, whence)
            return self._file.tell()

    def tell(self) -> int:
        with _as_os_error(self._location):
            return self._file.tell()

    def readall(self) -> bytes:
        with _as_os_error(self._location):
            return self._file.read()

    def readinto(self, buffer: Any) -> int:
        with _as_os_error(self._location):
            content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def write(self, content: Any) -> int:
        with _as_os_error(self._location):
            self._file.write(bytes(content))
        return len(content)

    def close(self) -> None:
        if not self.closed:
            with _as_os_error(self._location):
                self._file.close()
        super().close()


def _buffer(file: Any, location: str, mode: str) -> BinaryIO:
    """A buffered file of Python's own kind."""
    raw: Any = _RemoteFile(file, location, mode)
    buffered: Any = (io.BufferedReader if mode == "rb" else io.BufferedWriter)(raw, _BUFFER)
    return buffered


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
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), location)
        return os.stat(location).st_size

    def is_folder(self, location: str) -> bool:
        return os.path.isdir(location)

    def names(self, folder: str) -> Iterator[str]:
        for entry in os.scandir(folder):
            yield entry.name + ("/" if entry.is_dir() else "")

    def walk(self, folder: str) -> Iterator[str]:
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.is_dir():
                # A link may lead back to a folder that it lies in.
                real = os.path.realpath(entry.path) if entry.is_symlink() else ""
                if not real or not (os.path.realpath(folder) + "/").startswith(real + "/"):
                    yield from self.walk(entry.path)
            elif entry.is_file():
                yield entry.path

    def rename(self, source: str, target: str) -> None:
        os.replace(source, target)

    def remove(self, location: str) -> None:
        os.remove(location)

    def make_folder(self, location: str) -> None:
        os.makedirs(location, exist_ok=True)


_FILE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".json", ".tfrecord", ".txt")
"""What names no folder: to ask would be a request for each photo of a bucket."""


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
        return _buffer(self._files.GFile(location, mode), location, mode)

    def size(self, location: str) -> int:
        with _as_os_error(location):
            found = self._files.stat(location)
        if found.is_directory:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), location)
        return found.length

    def is_folder(self, location: str) -> bool:
        with _as_os_error(location):
            return self._files.isdir(location)

    def names(self, folder: str) -> Iterator[str]:
        with _as_os_error(folder):
            names = sorted(map(str, self._files.listdir(folder)))
        for name in names:
            known = name.endswith("/") or name.lower().endswith(_FILE_ENDINGS)
            a_folder = not known and self.is_folder(posixpath.join(folder, name))
            yield name + ("/" if a_folder else "")

    def walk(self, folder: str) -> Iterator[str]:
        for name in self.names(folder):
            location = posixpath.join(folder, name.rstrip("/"))
            yield from self.walk(location) if name.endswith("/") else (location,)

    def rename(self, source: str, target: str) -> None:
        with _as_os_error(source):
            self._files.rename(source, target, overwrite=True)

    def remove(self, location: str) -> None:
        with _as_os_error(location):
            self._files.remove(location)

    def make_folder(self, location: str) -> None:
        with _as_os_error(location):
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
            from apache_beam.options import pipeline_options, value_provider
        except ImportError:
            raise unknown from None
        files = filesystems.FileSystems
        # Outside of a pipeline nothing has set the options, without which some file systems fail.
        if not (files._pipeline_options or value_provider.RuntimeValueProvider.runtime_options):
            files.set_options(pipeline_options.PipelineOptions([]))
        try:
            files.get_filesystem(location)
        except Exception:  # ValueError, or what the missing part's import raised
            raise unknown from None
        return cls(files)

    def open(self, location: str, mode: str) -> BinaryIO:
        # Whole bytes: Beam would unpack what ends in .gz by itself.
        options = {"mime_type": "application/octet-stream", "compression_type": "uncompressed"}
        with _as_os_error(location):
            open_file = self._files.open if mode == "rb" else self._files.create
            return _buffer(open_file(location, **options), location, mode)

    def _match(self, pattern: str, most: int | None = None) -> list[Any]:
        """What Beam says of the files that match a pattern, in the order of their addresses."""
        with _as_os_error(pattern):
            limits = None if most is None else [most]
            found = self._files.match([pattern], limits)[0].metadata_list
        return sorted(found, key=lambda entry: entry.path)

    def size(self, location: str) -> int:
        with _as_os_error(location):
            files = self._files.get_filesystem(location)
            # Not by a match, which would take brackets in a name for a pattern.
            if files.exists(location) and not location.endswith("/"):
                return files.size(location)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), location)

    def is_folder(self, location: str) -> bool:
        return bool(self._match(posixpath.join(location, "**"), most=1))

    def names(self, folder: str) -> Iterator[str]:
        """Yields the files alone: Beam matches no folders."""
        yield from (
            posixpath.basename(entry.path) for entry in self._match(posixpath.join(folder, "*"))
        )

    def walk(self, folder: str) -> Iterator[str]:
        yield from (entry.path for entry in self._match(posixpath.join(folder, "**")))

    def rename(self, source: str, target: str) -> None:
        with _as_os_error(source):
            if self._files.exists(target):
                self._files.delete([target])
            self._files.rename([source], [target])

    def remove(self, location: str) -> None:
        with _as_os_error(location):
            self._files.delete([location])

    def make_folder(self, location: str) -> None:
        """Does nothing: the stores that Beam reaches have no folders, or make them alone."""
