"""Text files as people have them: with a byte-order mark, any line ends, names that are no text."""

import codecs
import io
from collections.abc import Iterator
from typing import Any, TextIO

from imgcap.errors import DataError
from imgcap.files.locations import open_file
from imgcap.files.names import is_text, write_name

KEEP_BYTES = "surrogateescape"
"""How text is decoded: names of files may be bytes that are no UTF-8, captions may not."""

_LOST = "imgcap-lost"
"""How what is no UTF-16 is decoded: as a surrogate, which is no text either."""

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def open_text(location: str) -> TextIO:
    """Opens a text file for streaming, with its line ends as they are.

    UTF-8 is read with and without a byte-order mark, UTF-16 with one. Bytes that are neither
    become surrogates, which `imgcap.files.names.is_text` tells.

    Args:
        location: the file, a path or an address.

    Raises:
        OSError: it cannot be opened.
    """
    file: Any = open_file(location)
    if file.peek(2)[:2] in _UTF_16:
        return io.TextIOWrapper(file, encoding="utf-16", errors=_LOST, newline="")
    return io.TextIOWrapper(file, encoding="utf-8-sig", errors=KEEP_BYTES, newline="")


def read_lines(location: str) -> Iterator[tuple[int, str]]:
    """Yields number, from 1, and stripped text of each line that is not empty.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with open_text(location) as file:
            for number, line in enumerate(file, start=1):
                if stripped := line.strip():
                    yield number, stripped
    except (OSError, UnicodeError) as error:
        raise DataError(f"{location} cannot be read as text ({error}): mend the file") from None


def as_written(name: str) -> str:
    """The name of a file in a text; bytes that are no UTF-8 may stand there as they are."""
    return name if is_text(name) else write_name(name)


def _mark_lost(error: UnicodeError) -> tuple[str, int]:
    """Decodes what is no UTF-16 to one surrogate, as `codecs` asks error handlers to."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end


codecs.register_error(_LOST, _mark_lost)
