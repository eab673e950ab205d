"""Writes JSON as RapidJSON's PrettyWriter does, with which the real server writes its answers.

Four spaces a level; each entry of a list on a line of its own, or all on one line; texts are bytes
that are copied as they are but for control characters, quotation marks and backslashes.
"""

import math
import re
import struct
from collections.abc import Iterable

_SPECIAL = re.compile(rb'["\\\x00-\x1f]')
_FLOAT = struct.Struct("f")
_SHORT = {
    b"\b": b"\\b",
    b"\f": b"\\f",
    b"\n": b"\\n",
    b"\r": b"\\r",
    b"\t": b"\\t",
    b'"': b'\\"',
    b"\\": b"\\\\",
}


class JsonWriter:
    """Builds one JSON text.

    Attributes:
        single_line: whether the entries of lists that follow are put on one line.
        size: number of bytes that were written.
    """

    def __init__(self, single_line: bool = False) -> None:
        self.single_line = single_line
        self.size = 0
        self._pieces: list[bytes] = []
        # For each open container: whether it is a list, and how many values and names it has.
        self._levels: list[tuple[bool, int]] = []

    def text(self) -> bytes:
        """The text that was written so far."""
        return b"".join(self._pieces)

    def start_object(self) -> None:
        """Opens an object; names and values follow in turn."""
        self._write_prefix()
        self._put(b"{")
        self._levels.append((False, 0))

    def end_object(self) -> None:
        """Closes the innermost container, an object."""
        _, count = self._levels.pop()
        if count:
            self._break_line()
        self._put(b"}")

    def start_list(self) -> None:
        """Opens a list."""
        self._write_prefix()
        self._put(b"[")
        self._levels.append((True, 0))

    def end_list(self) -> None:
        """Closes the innermost container, a list."""
        _, count = self._levels.pop()
        if count and not self.single_line:
            self._break_line()
        self._put(b"]")

    def write(self, token: bytes) -> None:
        """Writes a number, a word or a text that is JSON already."""
        self._write_prefix()
        self._put(token)

    def write_text(self, text: bytes) -> None:
        """Writes a text or a member's name."""
        self.write(quote(text))

    def write_entries(self, tokens: list[bytes]) -> None:
        """Writes several entries of a list, each of which is JSON already.

        Args:
            tokens: what `write` takes, one or more.
        """
        self.write(tokens[0])
        separator = b", " if self.single_line else b",\n" + b"    " * len(self._levels)
        self._put(b"".join(separator + token for token in tokens[1:]))

    def _write_prefix(self) -> None:
        if not self._levels:
            return
        in_list, count = self._levels[-1]
        self._levels[-1] = (in_list, count + 1)
        if in_list:
            if count:
                self._put(b", " if self.single_line else b",")
            if not self.single_line:
                self._break_line()
        elif count % 2:
            self._put(b": ")
        else:
            if count:
                self._put(b",")
            self._break_line()

    def _put(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self.size += len(piece)

    def _break_line(self) -> None:
        self._put(b"\n" + b"    " * len(self._levels))


def quote(text: bytes) -> bytes:
    """Makes a text of JSON.

    Args:
        text: any bytes; they are not checked to be UTF-8.
    """
    return b'"' + _SPECIAL.sub(_escape, text) + b'"'


def _escape(match: re.Match[bytes]) -> bytes:
    return _SHORT.get(match[0]) or b"\\u%04X" % match[0][0]


def decimals(values: Iterable[float], double: bool = False) -> list[bytes]:
    """Formats decimals with six digits if these give the number back, else with as many as needed.

    Args:
        values: the numbers.
        double: whether they are of 64 bits and not of 32.

    Returns:
        For each 1.5, 2.0, 3e-05, NaN, Infinity or the like.
    """
    return [_decimal(value, double).encode() for value in values]


def _decimal(value: float, double: bool) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    text = f"{value:g}"
    if (float(text) if double else _to_float(float(text))) != value:
        text = f"{value:.17g}" if double else f"{value:.9g}"
    return text if "." in text or "e" in text else text + ".0"


def _to_float(value: float) -> float:
    """Rounds to 32 bits."""
    try:
        return _FLOAT.unpack(_FLOAT.pack(value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
