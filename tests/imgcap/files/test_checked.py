"""JSON files with a checksum: any change is found, and files without one are read as before."""

import json
from pathlib import Path

import pytest

from imgcap.errors import DataError
from imgcap.files.checked import read_checked, write_checked

TREE = {"images": {"dev": 9, "train": 1000}, 8: [0.1, None, True], "name": "caf\udce9 ☕"}
READ = {"images": {"dev": 9, "train": 1000}, "8": [0.1, None, True], "name": "caf\udce9 ☕"}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_checked(tmp_path / "file.json", TREE)
    assert read_checked(tmp_path / "file.json", DataError, "make it") == READ
    # Another layout is no other content.
    tree = json.loads((tmp_path / "file.json").read_text())
    (tmp_path / "file.json").write_text(json.dumps(dict(reversed(tree.items()))))
    assert read_checked(tmp_path / "file.json", DataError, "make it") == READ


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1000", "1001"),
        ("dev", "dew"),
        ("0.1", "0.2"),
        ("true", "null"),
        ("checksum", "cheXksuQ"),
    ],
)
def test_a_change_is_found(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "file.json"
    write_checked(path, TREE)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match="file.json was changed or is damaged .*: make it"):
        read_checked(path, DataError, "make it")


def test_older_files_have_none(tmp_path: Path) -> None:
    (tmp_path / "file.json").write_text('{"a": 1}')
    assert read_checked(tmp_path / "file.json", DataError, "make it") == {"a": 1}
    (tmp_path / "file.json").write_text("[1]")
    with pytest.raises(DataError, match="holds no JSON object: make it"):
        read_checked(tmp_path / "file.json", DataError, "make it")
