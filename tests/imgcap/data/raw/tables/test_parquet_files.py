"""The reader of Parquet tables, on files that pyarrow writes here."""

import sys
from pathlib import Path
from typing import Any

import pytest

from imgcap.data.raw.example import Row, Source
from imgcap.data.raw.tables import parquet_files
from imgcap.errors import DataError


def write(path: Path, columns: dict[str, Any], group: int = 1000) -> str:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), path, row_group_size=group)
    return str(path)


def read_all(folder: Path) -> list[Row]:
    source = parquet_files.find(str(folder))
    assert source is not None
    return [row for file in source.captions_files for row in parquet_files.rows(file, source)]


def test_texts_and_lists_of_several_groups(tmp_path: Path) -> None:
    location = write(
        tmp_path / "c.parquet",
        {
            "number": [1, 2, 3],
            "file_name": ["1.jpg", "2.jpg", "3.jpg"],
            "captions": [["a", "b"], [], None],
            "split": ["train", "validation", None],
        },
        group=1,
    )
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "2.jpg").write_bytes(b"x")
    assert parquet_files.find(str(tmp_path)) == Source(
        "parquet", (location,), (str(tmp_path / "images"),)
    )
    assert read_all(tmp_path) == [
        Row("1.jpg", ("a", "b"), "train"),
        Row("2.jpg", (), "dev"),
        Row("3.jpg", (), ""),
    ]


def test_parts_of_splits(tmp_path: Path) -> None:
    for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        write(tmp_path / f"{name}.parquet", {"image": [f"{name}.jpg"], "caption_0": ["x"]})
    assert [(row.image, row.split) for row in read_all(tmp_path)] == [
        ("test-00000-of-00001.jpg", "test"),
        ("train-00000-of-00002.jpg", "train"),
        ("train-00001-of-00002.jpg", "train"),
    ]


@pytest.mark.parametrize("image", [b"\xff\xd8", {"bytes": b"\xff\xd8", "path": "1.jpg"}])
def test_images_inside_the_table_are_refused(tmp_path: Path, image: Any) -> None:
    write(tmp_path / "c.parquet", {"image": [image], "caption": ["x"]})
    with pytest.raises(DataError, match="c.parquet: the images are inside the column 'image': wri"):
        read_all(tmp_path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"foto": ["1.jpg"], "text": ["x"]},
            "c.parquet: no column is known as images among 'foto'",
        ),
        ({"image": ["1.jpg", None], "text": ["x", "y"]}, "row 2: the image is null, not a text"),
        ({"image": ["1.jpg"], "text": [3]}, "c.parquet: row 1: the caption is 3, not a caption"),
    ],
)
def test_broken_tables(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    write(tmp_path / "c.parquet", columns)
    with pytest.raises(DataError, match=message):
        read_all(tmp_path)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "c.parquet").write_bytes(b"no Parquet at all")
    with pytest.raises(DataError, match=r"c.parquet: broken Parquet \(.*\): fetch it again"):
        read_all(tmp_path)


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match="c.parquet: Parquet needs pyarrow: pip install pyarrow"):
        read_all(tmp_path)
