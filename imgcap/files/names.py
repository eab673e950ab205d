r"""Names of files that are no text: how they are written down, and how they are found again.

A file system takes any bytes. Those of old archives are often Latin-1, which Python keeps as
surrogates, and no UTF-8 file or terminal can hold. Written down, each such byte becomes `\xe9`; a
command that is given `caf\xe9.jpg` opens the file whose name has that byte.
"""

import os
import re
import unicodedata

_WRITTEN = re.compile(rb"\\x([0-9a-f]{2})")
_LOOKS_WRITTEN = re.compile(r"\\(?=x[0-9a-f]{2})")


def is_text(name: str) -> bool:
    """Whether a name is text, which UTF-8 can hold: it came from bytes that are UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def write_name(name: str) -> str:
    r"""Makes a name that any file and any reader can hold; `read_name` is its reverse.

    Args:
        name: as Python has it, with surrogates for bytes that are no UTF-8.

    Returns:
        The name with those bytes as `\xe9`; nearly always it is the name as it came. A backslash
        that would look like such a byte becomes `\x5c`.
    """
    guarded = _LOOKS_WRITTEN.sub(r"\\x5c", name)
    return "".join(map(_write_surrogate, guarded)) if not is_text(guarded) else guarded


def write_line(name: str) -> str:
    r"""Makes a name that fits into one line: `write_name`, and control characters as `\x0a`."""
    return "".join(
        "".join(f"\\x{byte:02x}" for byte in character.encode())
        if unicodedata.category(character) in ("Cc", "Zl", "Zp")
        else character
        for character in write_name(name)
    )


def read_name(written: str) -> str:
    r"""Finds the name that `write_name` or `write_line` wrote down.

    Args:
        written: may hold bytes as `\xe9`.

    Returns:
        The name as Python has it, to open the file by.
    """
    return os.fsdecode(
        _WRITTEN.sub(lambda byte: bytes.fromhex(byte[1].decode()), os.fsencode(written))
    )


def _write_surrogate(character: str) -> str:
    r"""A character, or the byte that a surrogate stands for as `\xe9`."""
    code = ord(character)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else character
