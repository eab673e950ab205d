"""Reads JSON as RapidJSON 1.1 does, with which the real server reads it.

The values, the texts of errors and their offsets are that library's: of two members of one name the
first counts, numbers keep their kind (integer or decimal), NaN and Infinity are numbers, texts are
bytes that need not be UTF-8, and what follows the first value is not read. Lists may be nested
deeply: the reader keeps its own stack, and what it makes is bounded.
"""

import json
import re
from typing import NamedTuple, TypeAlias

from serving.server.fronts.rest.json_number import read_number
from serving.server.request_error import RequestError, invalid

MAX_DEPTH = 10_000
"""Lists and objects inside each other; the real server's process ends at ten times that."""

MAX_VALUES = 2**20
"""Values of a text, and escapes in it; each takes up to 200 bytes and 5 microseconds."""

MAX_NUMBERS = 2**23
"""Numbers in lists of numbers, which are read fast; each takes up to 60 bytes until it is in a
tensor. Sixteen photographs of 299 × 299 pixels have half as many.
"""

_RUN_BYTES = 2**16  # read at once, since other threads stand still meanwhile
_SHORT_RUN = 2**12

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SPACE = re.compile(rb"[ \n\r\t]*")
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_HEX = re.compile(rb"[0-9A-Fa-f]{4}")
_ESCAPES = {
    b'"': b'"',
    b"\\": b"\\",
    b"/": b"/",
    b"b": b"\b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
}
_WORDS = {b"n": (b"null", None), b"t": (b"true", True), b"f": (b"false", False)}
_NUMBERS = re.compile(rb"\[[-+0-9.eE, \n\r\t]{0,%d}\]" % _RUN_BYTES)
_RUN = re.compile(rb"[-+0-9.eE, \n\r\t]{%d,%d}" % (_SHORT_RUN, _RUN_BYTES))
_ROWS = re.compile(
    rb"(?=\[[-+0-9.eE, \n\r\t]{1,%d}\])\[[-+0-9.eE, \n\r\t\[\]]{64,%d}" % (_RUN_BYTES, _RUN_BYTES)
)
_OTHER_DEPTH = re.compile(rb"\]\]|\[\[")
# Such numbers may be too big for the library or for 64 bits; the standard reader takes them.
_LONG_NUMBER = re.compile(rb"[eE]\+?[0-9]{3}|[0-9]{19}")


class JsonObject(NamedTuple):
    """An object of JSON.

    Attributes:
        members: names and values in the order of the text; a name may occur twice.
    """

    members: list[tuple[bytes, "JsonValue"]]

    def find(self, name: bytes) -> "JsonValue | Missing":
        """Finds the first member of a name; MISSING if there is none."""
        return next((value for key, value in self.members if key == name), MISSING)


class Missing:
    """The type of MISSING, which stands for a member that an object lacks; None is JSON's null."""


MISSING = Missing()

JsonValue: TypeAlias = None | bool | int | float | bytes | list["JsonValue"] | JsonObject


def name_text(name: bytes) -> str:
    """A member's name as the real server reads it: up to a zero byte, and not only UTF-8."""
    return name.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def read_json(text: bytes) -> JsonValue:
    """Reads the first value of a JSON text.

    Args:
        text: the text in UTF-8, or in anything: texts inside are not decoded.

    Raises:
        RequestError: no JSON, or more than the bounds of this module.
    """
    return _Reader(text).read()


class _Reader:
    """Reads one text.

    Attributes:
        text: what is read.
        offset: place of the next byte.
    """

    def __init__(self, text: bytes) -> None:
        self.text, self.offset = text, 0
        self._values = self._numbers = 0
        self._no_run_before = 0
        self._root: JsonValue = None
        # The containers that are open, and for each object the name of its unfinished member.
        self._open: list[list[JsonValue] | JsonObject] = []
        self._names: list[bytes] = []

    def read(self) -> JsonValue:
        """Reads the first value."""
        if not self.text:
            raise invalid("JSON Parse error: The document is empty")
        for byte in _BYTE_ORDER_MARK:
            self.offset += self.text[self.offset : self.offset + 1] == bytes([byte])
        self._skip_space()
        if self._peek() in (b"", b"\0"):
            raise self._error("The document is empty.")
        while True:
            self._read_runs()
            self._count_value()
            opened, value = self._begin_value()
            if not opened and self._close_containers(value):
                return self._root

    def _peek(self) -> bytes:
        return self.text[self.offset : self.offset + 1]

    def _skip_space(self) -> None:
        self.offset = _SPACE.match(self.text, self.offset).end()  # type: ignore[union-attr]  # matches the empty text too

    def _error(self, message: str, offset: int | None = None) -> RequestError:
        offset = self.offset if offset is None else offset
        return invalid(f"JSON Parse error: {message} at offset: {offset}")

    def _count_value(self) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            raise self._error(f"More than {MAX_VALUES} values.")
        if len(self._open) > MAX_DEPTH:
            raise self._error(f"More than {MAX_DEPTH} nested lists and objects.")

    def _begin_value(self) -> tuple[bool, JsonValue]:
        """Reads a value, or the start of a list or object that is not empty.

        Returns:
            Whether a list or object was opened, whose first value is due; else the value.
        """
        head = self._peek()
        if head == b"[":
            return self._begin_list()
        if head == b"{":
            return self._begin_object()
        if head == b'"':
            return False, self._read_text()
        if head in _WORDS:
            return False, self._read_word(*_WORDS[head])
        value, self.offset = read_number(self.text, self.offset)
        return False, value

    def _begin_list(self) -> tuple[bool, JsonValue]:
        numbers = self._read_numbers()
        if numbers is not None:
            return False, numbers
        self.offset += 1
        self._skip_space()
        if self._peek() == b"]":
            self.offset += 1
            return False, []
        self._open.append([])
        return True, None

    def _begin_object(self) -> tuple[bool, JsonValue]:
        self.offset += 1
        self._skip_space()
        if self._peek() == b"}":
            self.offset += 1
            return False, JsonObject([])
        self._names.append(self._read_name())
        self._open.append(JsonObject([]))
        return True, None

    def _close_containers(self, value: JsonValue) -> bool:
        """Puts a value where it belongs, and each list or object that ends with it.

        Returns:
            Whether the outermost value is complete; else the next value is due.
        """
        while self._open:
            container = self._open[-1]
            self._skip_space()
            head = self._peek()
            if isinstance(container, JsonObject):
                container.members.append((self._names[-1], value))
                if head not in (b",", b"}"):
                    raise self._error("Missing a comma or '}' after an object member.")
            else:
                container.append(value)
                if head not in (b",", b"]"):
                    raise self._error("Missing a comma or ']' after an array element.")
            self.offset += 1
            if head == b",":
                self._skip_space()
                if isinstance(container, JsonObject):
                    self._names[-1] = self._read_name()
                return False
            value = self._open.pop()
            if isinstance(container, JsonObject):
                self._names.pop()
        self._root = value
        return True

    def _read_numbers(self) -> list[JsonValue] | None:
        """Reads a list of nothing but numbers at once, unless it is long.

        Returns:
            None if there is anything else in it, or a number that needs a closer look.
        """
        match = _NUMBERS.match(self.text, self.offset)
        numbers = None if match is None else self._load_numbers(match[0])
        if match is not None and numbers is not None:
            self.offset = match.end()
        return numbers

    def _read_runs(self) -> None:
        """Reads many entries of a list at once if they are numbers, or lists of nothing else.

        Large tensors are made of these. What is read ends before a comma, so that the next entry
        is due then.
        """
        while self._open and self.offset >= self._no_run_before:
            container = self._open[-1]
            run = b"" if isinstance(container, JsonObject) else self._find_run()
            if isinstance(container, JsonObject) or not run:
                return
            entries = self._load_numbers(b"[" + run + b"]")
            if not entries:
                self._no_run_before = self.offset + len(run)
                return
            container.extend(entries)
            self.offset += len(run) + 1
            self._skip_space()

    def _find_run(self) -> bytes:
        """Finds such entries; nothing if they are few, and better read one by one."""
        match = _RUN.match(self.text, self.offset)
        if match is not None:
            return match[0][: max(0, match[0].rfind(b","))]
        match = _ROWS.match(self.text, self.offset)
        if match is None:
            return b""
        other = _OTHER_DEPTH.search(match[0])
        end = match[0].rfind(b"],", 0, other.start() if other else len(match[0]))
        return match[0][: end + 1]

    def _load_numbers(self, text: bytes) -> list[JsonValue] | None:
        """Reads a list with the standard reader, or None if that might differ by more than a bit.

        The last bit of a double of more than 15 digits is right here, and the library's is not
        always; as a float of 32 bits they are the same.
        """
        if _LONG_NUMBER.search(text):
            return None
        try:
            numbers = json.loads(text)
        except (
            ValueError,
            RecursionError,
        ):  # the error is found, with its offset, number by number
            return None
        self._values += text.count(b"[") - 1
        self._numbers += text.count(b",") + 1
        if self._numbers > MAX_NUMBERS:
            raise self._error(f"More than {MAX_NUMBERS} numbers.")
        return numbers

    def _read_word(self, word: bytes, value: bool | None) -> bool | None:
        for letter in word:
            if self._peek() != bytes([letter]):
                raise self._error("Invalid value.")
            self.offset += 1
        return value

    def _read_name(self) -> bytes:
        """Reads a member's name and the colon after it."""
        if self._peek() != b'"':
            raise self._error("Missing a name for object member.")
        name = self._read_text()
        self._skip_space()
        if self._peek() != b":":
            raise self._error("Missing a colon after a name of object member.")
        self.offset += 1
        self._skip_space()
        return name

    def _read_text(self) -> bytes:
        self.offset += 1
        pieces = []
        while True:
            end = _PLAIN.match(self.text, self.offset).end()  # type: ignore[union-attr]  # matches the empty text too
            pieces.append(self.text[self.offset : end])
            self.offset = end
            head = self._peek()
            if head == b'"':
                self.offset += 1
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
            if head == b"\\":
                pieces.append(self._read_escape())
            elif head in (b"", b"\0"):
                raise self._error("Missing a closing quotation mark in string.")
            else:
                raise self._error("Invalid escape character in string.")

    def _read_escape(self) -> bytes:
        self._count_value()
        start = self.offset
        letter = self.text[start + 1 : start + 2]
        self.offset += 2
        if letter in _ESCAPES:
            return _ESCAPES[letter]
        if letter != b"u":
            raise self._error("Invalid escape character in string.", start)
        code = self._read_hex(start)
        if 0xD800 <= code <= 0xDBFF:
            if self.text[self.offset : self.offset + 2] != b"\\u":
                raise self._error("The surrogate pair in string is invalid.", start)
            self.offset += 2
            low = self._read_hex(start)
            if not 0xDC00 <= low <= 0xDFFF:
                raise self._error("The surrogate pair in string is invalid.", start)
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
        # A low half alone is let through, as three bytes that are not UTF-8.
        return chr(code).encode("utf-8", "surrogatepass")

    def _read_hex(self, escape: int) -> int:
        digits = _HEX.match(self.text, self.offset)
        if digits is None:
            raise self._error("Incorrect hex digit after \\u escape in string.", escape)
        self.offset = digits.end()
        return int(digits[0], 16)
