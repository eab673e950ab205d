"""What is asked of the files of this machine, and of those of each scheme of addresses."""

from collections.abc import Iterator
from typing import BinaryIO, Protocol


class FileSystem(Protocol):
    """The files of one scheme; locations are whole addresses, or paths of this machine.

    Whatever fails raises an OSError that names the location.
    """

    def open(self, location: str, mode: str) -> BinaryIO:
        """Opens a file, for reading if `mode` is 'rb', for writing it anew if it is 'wb'."""

    def size(self, location: str) -> int:
        """The bytes of a file; OSError if it is a folder or nothing."""

    def is_folder(self, location: str) -> bool:
        """Whether there is a folder, or a file below the address."""

    def names(self, folder: str) -> Iterator[str]:
        """Yields what lies directly in a folder; names of folders end in '/'."""

    def walk(self, folder: str) -> Iterator[str]:
        """Yields the locations of the files in a folder at any depth, sorted in each folder."""

    def rename(self, source: str, target: str) -> None:
        """Gives a file another name, replacing what has it."""

    def remove(self, location: str) -> None:
        """Removes a file, which must be there."""

    def make_folder(self, location: str) -> None:
        """Makes a folder and those above it, if they are absent."""
