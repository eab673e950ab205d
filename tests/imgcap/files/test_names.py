"""Names that are no text: written down so that they read, and found again by what was written."""

import os
import subprocess

import pytest

from imgcap.files.names import is_text, read_name, shell_flag, write_line, write_name
from tests.support.paths import ALL_AT_ONCE, HOSTILE_NAMES

LATIN_1 = os.fsdecode(b"caf\xe9.jpg")


def test_bytes_that_are_no_text_become_escapes() -> None:
    assert write_name(LATIN_1) == "caf\\xe9.jpg"
    assert read_name("caf\\xe9.jpg") == LATIN_1
    assert not is_text(LATIN_1)


@pytest.mark.parametrize("name", ["dog.jpg", "été.jpg", "a\\b.jpg", "two\nlines", "~x", ""])
def test_a_name_that_is_text_stays_as_it_is(name: str) -> None:
    assert is_text(name)
    assert write_name(name) == name


def test_a_name_that_looks_like_an_escape_is_told_from_the_byte() -> None:
    assert write_name("caf\\xe9.jpg") == "caf\\x5cxe9.jpg"
    assert read_name("caf\\x5cxe9.jpg") == "caf\\xe9.jpg"


def test_a_line_holds_no_line_break() -> None:
    assert write_line("a\nb\tc\x1b[31m\u2028") == "a\\x0ab\\x09c\\x1b[31m\\xe2\\x80\\xa8"


def every_short_name() -> list[str]:
    """All names of up to five of the characters that escapes are made of, and a lost byte."""
    letters, names = ["\\", "x", "e", "9", "\udce9"], [""]
    for _ in range(5):
        names += [
            name + letter for name in names if len(name) == len(names[-1]) for letter in letters
        ]
    return names


@pytest.mark.parametrize("write", [write_name, write_line])
def test_no_two_names_are_written_alike(write: object) -> None:
    names = [*every_short_name(), *HOSTILE_NAMES, ALL_AT_ONCE]
    written = [write(name) for name in names]
    assert all(map(is_text, written))
    assert [read_name(text) for text in written] == names


@pytest.mark.parametrize("name", [*HOSTILE_NAMES, ALL_AT_ONCE, "run"])
def test_a_printed_flag_can_be_pasted_into_a_shell(name: str) -> None:
    printed = shell_flag("workdir", f"/x/{name}")
    done = subprocess.run(["sh", "-c", f"printf %s {printed}"], capture_output=True, check=True)
    assert done.stdout == os.fsencode(f"--workdir=/x/{name}")
    assert shell_flag("workdir", "run") == "--workdir=run"
