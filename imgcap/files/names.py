r"""Names of files that are no text: how they are written down, and how they are found again.

A file system takes any bytes. Those of old archives are often Latin-1, which Python keeps as
surrogates, and no UTF-8 file or terminal can hold. Written down, each such byte becomes `\xe9`; a
command that is given `caf\xe9.jpg` opens the file whose name has that byte.
"""

import codecs
import os
import re
import shlex
import unicodedata

ESCAPED = "imgcap-escaped"
"""Name of the way to encode names, for `errors=` of Python's text files and codecs."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_WRITTEN = re.compile(rb"\\x([0-9a-f]{2})")
_LOOKS_WRITTEN = re.compile(r"\\(?=x[0-9a-f]{2})")


def is_text(name: str) -> bool:
    """Whether a name is text, which UTF-8 can hold: it came from bytes that are UTF-8."""
    return name.isascii() or not _SURROGATE.search(name)


def write_name(name: str) -> str:
    r"""Makes a name that any file and any reader can hold; `read_name` is its reverse.

    Args:
        name: as Python has it, with surrogates for bytes that are no UTF-8.

    Returns:
        The name with those bytes as `\xe9`; nearly always it is the name as it came. A backslash
        that would look like such a byte becomes `\x5c`.
    """
    if name.isascii() and "\\" not in name:
        return name
    return _LOOKS_WRITTEN.sub(r"\\x5c", name).encode("utf-8", ESCAPED).decode("utf-8")


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


def shell_flag(name: str, path: str | os.PathLike[str]) -> str:
    """Makes a flag that can be pasted into a shell.

    Args:
        name: of the flag, without dashes.
        path: its value; quoted if a shell would read it otherwise.
    """
    return f"--{name}={shlex.quote(os.fspath(path))}"


def find_path(given: str) -> str:
    r"""Finds the path that a text names.

    Args:
        given: a path; bytes may be written as `\xe9`, if no path of that very text is there.
    """
    if "\\x" not in given or os.path.lexists(given):
        return given
    read = read_name(given)
    return read if os.path.lexists(read) else given


def _escape(error: UnicodeError) -> tuple[str, int]:
    r"""Writes bytes that are no text as `\xe9`; other characters as Python's source has them."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "".join(
        f"\\x{ord(character) - 0xDC00:02x}"
        if "\udc80" <= character <= "\udcff"
        else character.encode("ascii", "backslashreplace").decode()
        for character in lost
    ), error.end


codecs.register_error(ESCAPED, _escape)
