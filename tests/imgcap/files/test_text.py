"""Text files with and without byte-order marks, and what is no text."""

from pathlib import Path

import pytest

from imgcap.errors import DataError
from imgcap.files.names import is_text
from imgcap.files.text import open_text, read_lines


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\r\n köter \r\n\n犬\n".encode(encoding))
    with open_text(str(path)) as file:
        assert file.read() == "\r\n köter \r\n\n犬\n"
    assert [line for _, line in read_lines(str(path))] == ["köter", "犬"]


@pytest.mark.parametrize("content", [b"caf\xe9\n", b"\xff\xfea\0\x00\xd8b\0", b"\xff\xfea\0b"])
def test_what_is_no_text_is_told(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    ((_, line),) = read_lines(str(path))
    assert not is_text(line)


def test_an_empty_file_and_none(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    assert list(read_lines(str(tmp_path / "a.txt"))) == []
    with pytest.raises(DataError, match=r"^.*/gone cannot be read as text \(.*No such file"):
        list(read_lines(str(tmp_path / "gone")))
