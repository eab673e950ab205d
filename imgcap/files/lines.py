"""Lines of text files of any location, strictly UTF-8."""

import codecs
import io
from collections.abc import Iterator
from typing import BinaryIO

from imgcap.errors import DataError
from imgcap.files.locations import open_file
from imgcap.files.names import is_text

HEAD_BYTES = 65536
_OTHER_CODES = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_lines(location: str, keep_bytes: bool = False) -> Iterator[str]:
    """Yields the lines of a text file, with their ends as they are, without a byte-order mark.

    Args:
        location: the file; it is read as the lines are asked for.
        keep_bytes: whether bytes that are no UTF-8 are kept as surrogates, which names of files
            may have, instead of refused.

    Yields:
        Lines that end in a line feed, a carriage return or both; the last one may have no end.

    Raises:
        DataError: the file is no UTF-8 text; names its line and tells to convert it.
        OSError: the file cannot be opened.
    """
    with open_file(location) as opened:
        raw = io.BufferedReader(_Raw(opened), HEAD_BYTES)
        _refuse_other_codes(raw.peek(2), location)
        text = io.TextIOWrapper(raw, "utf-8-sig", errors="surrogateescape", newline="")
        for number, line in enumerate(text, start=1):
            if not keep_bytes and not is_text(line):
                raise DataError(f"{location}:{number}: this line is not UTF-8 text: convert it")
            yield line


def read_head(location: str) -> str:
    """Reads the beginning of a text file, at most `HEAD_BYTES`; the last line may be cut.

    Raises:
        DataError: it is UTF-16; tells to convert it.
        OSError: the file cannot be opened.
    """
    with open_file(location) as opened:
        head = opened.read(HEAD_BYTES)
    _refuse_other_codes(head, location)
    return head.decode("utf-8-sig", "surrogateescape")


def _refuse_other_codes(head: bytes, location: str) -> None:
    """Raises DataError if a file begins as UTF-16 does."""
    if head.startswith(_OTHER_CODES) or b"\0" in head[:2]:
        raise DataError(f"{location} is UTF-16, not UTF-8: convert it (iconv -f UTF-16 -t UTF-8)")


class _Raw(io.RawIOBase):
    """The files of any file system as Python's own buffers read them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]  # any writable buffer
        content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)
