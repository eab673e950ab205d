"""Files of this machine."""

import errno
import os
from collections.abc import Iterator
from typing import BinaryIO

from imgcap.files.locations.file_system import FileSystem


class Local(FileSystem):
    """The file system of this machine."""

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
