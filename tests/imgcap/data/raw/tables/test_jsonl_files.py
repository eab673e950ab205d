"""The reader of JSON lines, on files written here."""

import json
from pathlib import Path
from typing import Any

import pytest

from imgcap.data.raw.example import Row, Source
from imgcap.data.raw.tables import jsonl_files
from imgcap.errors import DataError


def write(path: Path, *entries: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
    return str(path)


def read(folder: Path, content: bytes, **columns: str) -> list[Row]:
    (folder / "c.jsonl").write_bytes(content)
    location = str(folder / "c.jsonl")
    source = Source("jsonl", (location,), (str(folder),), {}, **columns)
    return list(jsonl_files.rows(location, source))


def read_all(folder: Path) -> list[Row]:
    source = jsonl_files.find(str(folder))
    assert source is not None
    return [row for file in source.captions_files for row in jsonl_files.rows(file, source)]


def test_values_of_all_kinds(tmp_path: Path) -> None:
    content = (
        b'\xef\xbb\xbf{"image": "1.jpg", "caption": " A dog. ", "n": {"a": [1]}}\r\n'
        b"\r\n"
        b'{"split": "validation", "caption": ["a", "", "b\\u2028c"], "image": "a\\\\2.jpg"}\r\n'
        b'{"image": "3.jpg", "caption": null, "split": null}\n'
        b'{"image": "4.jpg", "caption_1": "x", "caption_2": "y"}'
    )
    assert read(tmp_path, content) == [
        Row("1.jpg", ("A dog.",)),
        Row("a/2.jpg", ("a", "b\u2028c"), "dev"),
        Row("3.jpg", ()),
        Row("4.jpg", ("x", "y")),
    ]


def test_keys_by_flags(tmp_path: Path) -> None:
    content = b'{"src": "1.jpg", "alt": "a", "more": ["b"], "part": "test"}\n'
    flags = {"image_column": "src", "caption_column": "alt,more", "split_column": "part"}
    assert read(tmp_path, content, **flags) == [Row("1.jpg", ("a", "b"), "test")]


@pytest.mark.parametrize("folder", ["", "photos"])
def test_metadata_of_an_image_folder(tmp_path: Path, folder: str) -> None:
    inner = tmp_path / folder
    location = write(inner / "metadata.jsonl", {"file_name": "a/1.jpg", "text": "A dog."})
    (inner / "a").mkdir()
    (inner / "a" / "1.jpg").write_bytes(b"x")
    source = jsonl_files.find(str(tmp_path))
    assert source == Source("jsonl", (location,), (str(inner),))
    assert read_all(tmp_path) == [Row("a/1.jpg", ("A dog.",))]


def test_metadata_of_an_image_folder_with_splits(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        write(tmp_path / split / "metadata.jsonl", {"file_name": "1.jpg", "text": f"in {split}"})
        (tmp_path / split / "1.jpg").write_bytes(b"x")
    source = jsonl_files.find(str(tmp_path))
    assert source is not None
    assert source.image_roots == (str(tmp_path),)
    assert read_all(tmp_path) == [
        Row("test/1.jpg", ("in test",), "test"),
        Row("train/1.jpg", ("in train",), "train"),
        Row("validation/1.jpg", ("in validation",), "dev"),
    ]


def test_metadata_of_missing_images(tmp_path: Path) -> None:
    location = write(tmp_path / "pics" / "metadata.jsonl", {"file_name": "1.jpg", "text": "x"})
    assert jsonl_files.find(str(tmp_path)) == Source("jsonl", (location,), (str(tmp_path),))
    assert read_all(tmp_path) == [Row("pics/1.jpg", ("x",))]


def test_other_lines_are_passed_over(tmp_path: Path) -> None:
    assert jsonl_files.find(str(tmp_path)) is None
    write(tmp_path / "log.jsonl", {"time": 3})
    write(tmp_path / "list.ndjson", [1, 2])
    assert jsonl_files.find(str(tmp_path)) is None
    location = write(tmp_path / "c.jsonl", {"image": "1.jpg", "caption": "x"})
    assert jsonl_files.find(str(tmp_path)) == Source("jsonl", (location,), (str(tmp_path),))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'\n{"image": "1.jpg", caption: 3}\n', r"c.jsonl:2: broken JSON \(Expecting property"),
        (b"[" * 100_000, r"c.jsonl:1: broken JSON \(too many brackets\)"),
        (
            b'["1.jpg", "x"]\n',
            r"c.jsonl:1: '\[\"1.jpg\", \"x\"\]' is no object: write metadata.jso",
        ),
        (b'{"image": "1.jpg"}\n', "c.jsonl:1: no column is known as captions among 'image'"),
        (b'{"image": 5, "text": "x"}\n', "c.jsonl:1: the image is 5, not a text"),
        (b'{"image": {"bytes": ""}, "text": "x"}\n', "c.jsonl:1: the image is inside the table"),
        (b'{"image": "1.jpg", "text": [3]}\n', "c.jsonl:1: the caption is 3, not a caption"),
        (b'{"image": "1.jpg", "text": "caf\xe9"}\n', "c.jsonl:1: the caption is not UTF-8 text"),
        (b'{"image": "1.jpg", "text": "x", "split": 2}\n', "c.jsonl:1: the split is 2, not a t"),
        (b'{"image": "1.jpg", "text": "x", "split": "ten"}\n', "c.jsonl:1: 'ten' is no split"),
    ],
)
def test_broken_lines(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, content)
