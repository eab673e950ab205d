"""Files of buckets and clusters, through TensorFlow or Apache Beam."""

import contextlib
import errno
import importlib.util
import io
import os
import posixpath
from collections.abc import Iterator
from typing import Any, BinaryIO

from imgcap.errors import DataError
from imgcap.files.locations.file_system import FileSystem

_BUFFER = 1 << 18
"""Bytes that are read at a time from files of other file systems."""

_NEEDED = {"s3": "boto3"}
"""Schemes of which Beam misses a package only at the first file, to that package."""

_FILE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".json", ".tfrecord", ".txt")
"""What names no folder: to ask would be a request for each photo of a bucket."""


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


class Tensorflow(FileSystem):
    """Files of the schemes that TensorFlow knows."""

    def __init__(self, files: Any) -> None:
        self._files = files

    @classmethod
    def find(cls, scheme: str) -> "Tensorflow | None":
        """The file system of a scheme; None if TensorFlow is absent or lacks it."""
        try:
            from tensorflow.io import gfile
        except ImportError:
            return None
        return cls(gfile) if scheme in gfile.get_registered_schemes() else None

    def open(self, location: str, mode: str) -> BinaryIO:
        if mode == "rb":
            self.size(location)  # GFile opens when it is first read: an absent file must fail here
        elif location.startswith("ram://"):
            # TensorFlow's files in memory would keep what they hold, and go on after it. Others are
            # replaced when they are whole.
            with contextlib.suppress(OSError):
                self.remove(location)
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


class Beam(FileSystem):
    """Files of the schemes that an installed part of Apache Beam knows."""

    def __init__(self, files: Any) -> None:
        self._files = files

    @classmethod
    def find(cls, location: str) -> "Beam":
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
        if scheme in _NEEDED and importlib.util.find_spec(_NEEDED[scheme]) is None:
            raise unknown
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
