"""Flickr8k, on folders written here: both layouts, both kinds of split, and every broken file."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from imgcap.config import PrepareConfig
from imgcap.data.raw import RawDataset
from imgcap.data.raw.reading import find_source, read
from imgcap.errors import DataError
from imgcap.files.names import read_name

NAMES = [f"{number}.jpg" for number in range(10)]


def read_flickr8k(folder: Path, seed: int) -> RawDataset:
    return read(find_source(PrepareConfig(dataset="flickr8k", raw_dir=str(folder))), seed)


def write_kaggle(folder: Path, rows: list[str] | None = None) -> Path:
    (folder / "Images").mkdir()
    for name in NAMES:
        (folder / "Images" / name).write_bytes(b"x")
    rows = rows or [f'{name},"a dog , running {number}"' for name in NAMES for number in range(2)]
    (folder / "captions.txt").write_text("\n".join(["image,caption", *rows]) + "\n")
    return folder


def write_original(folder: Path) -> Path:
    (folder / "Flicker8k_Dataset").mkdir()
    for name in NAMES:
        (folder / "Flicker8k_Dataset" / name).write_bytes(b"x")
    (folder / "Flickr8k_text").mkdir()
    lines = [f"{name}#{number}\ta dog , running {number}" for name in NAMES for number in range(2)]
    (folder / "Flickr8k_text" / "Flickr8k.token.txt").write_text("\n".join(lines))
    return folder


def write_splits(folder: Path, train: list[str], dev: list[str], test: list[str]) -> None:
    for split, names in (("train", train), ("dev", dev), ("test", test)):
        (folder / f"Flickr_8k.{split}Images.txt").write_text("\n".join(names) + "\n")


def test_both_layouts_give_the_same(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    kaggle = read_flickr8k(write_kaggle(tmp_path / "a"), seed=3)
    original = read_flickr8k(write_original(tmp_path / "b"), seed=3)
    assert [example._replace(location="") for example in kaggle.examples] == [
        example._replace(location="") for example in original.examples
    ]
    assert kaggle.examples[0].captions == ("a dog , running 0", "a dog , running 1")
    assert kaggle.split_source == "seeded"


def test_drawn_split_follows_its_seed(tmp_path: Path) -> None:
    folder = write_kaggle(tmp_path)
    splits = [
        {e.image_id: e.split for e in read_flickr8k(folder, seed).examples} for seed in (0, 0, 1)
    ]
    assert splits[0] == splits[1] != splits[2]
    assert sorted(splits[0].values()) == ["dev", "test", *["train"] * 8]


def test_official_split_counts_what_it_leaves_out(tmp_path: Path) -> None:
    folder = write_kaggle(tmp_path, [f"{name},a dog" for name in NAMES if name != "2.jpg"])
    write_splits(folder, ["0.jpg", "1.jpg", "2.jpg", "gone.jpg"], ["3.jpg"], ["4.jpg"])
    raw = read_flickr8k(folder, seed=0)
    assert [(e.image_id, e.split) for e in raw.examples] == [
        ("0.jpg", "train"),
        ("1.jpg", "train"),
        ("3.jpg", "dev"),
        ("4.jpg", "test"),
    ]
    assert raw.absent == ["gone.jpg"]
    assert raw.unlisted == ["5.jpg", "6.jpg", "7.jpg", "8.jpg", "9.jpg"]
    assert raw.uncaptioned == ["2.jpg"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["0.jpg,a dog", '1.jpg,"never closed'], r"captions.txt:\d+: broken CSV row"),
        (
            ["0.jpg,a dog, unquoted"],
            r"captions.txt:2: '0.jpg,a dog, unquoted' is no row of image,caption",
        ),
        (["0.jpg,"], r"captions.txt:2: .* is no row"),
        (["other.jpg,a dog"], "holds none of the 1 captioned images"),
    ],
)
def test_broken_table(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_flickr8k(write_kaggle(tmp_path, rows), seed=0)


def test_a_header_is_never_an_image(tmp_path: Path) -> None:
    folder = write_kaggle(tmp_path, ["0.jpg,a dog"])
    captions = folder / "captions.txt"
    config = PrepareConfig(dataset="flickr8k", raw_dir=str(folder), captions="captions.txt")
    captions.write_text("Picture,Words\n0.jpg,a dog\n")
    with pytest.raises(
        DataError,
        match=r"captions.txt:1: 'Picture,Words' is neither the header image,caption nor an image",
    ):
        read(find_source(config), seed=0)
    for header in ("", "\ufeffImage, Caption\r\n", "\r\nIMAGE,CAPTION\r\n\r\n"):
        captions.write_text(f"{header}0.jpg,a dog\r\n\r\n", newline="")
        found = read(find_source(config), seed=0)
        assert [(e.image_id, e.captions) for e in found.examples] == [("0.jpg", ("a dog",))]
        assert not found.absent
    # Under a header, names need no ending.
    (folder / "Images" / "0.jpg").rename(folder / "Images" / "zero")
    captions.write_text("image,caption\nzero,a dog\n")
    assert [e.image_id for e in read(find_source(config), seed=0).examples] == ["zero"]


def test_broken_token_line(tmp_path: Path) -> None:
    write_original(tmp_path)
    (tmp_path / "Flickr8k_text" / "Flickr8k.token.txt").write_text("0.jpg a dog\n")
    with pytest.raises(
        DataError, match=r"Flickr8k.token.txt:1: '0.jpg a dog' is no line of name.jpg#0<TAB>caption"
    ):
        read_flickr8k(tmp_path, seed=0)


def test_missing_parts(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere is no folder: give --raw_dir"):
        read_flickr8k(tmp_path / "nowhere", seed=0)
    with pytest.raises(DataError, match="has no image folder"):
        read_flickr8k(tmp_path, seed=0)
    (tmp_path / "Images").mkdir()
    with pytest.raises(
        DataError,
        match=r"has no captions: put a file there such as captions.txt \(image,caption\) or "
        r"Flickr8k.token.txt",
    ):
        read_flickr8k(tmp_path, seed=0)


def test_some_split_files_only(tmp_path: Path) -> None:
    folder = write_kaggle(tmp_path)
    (folder / "Flickr_8k.trainImages.txt").write_text("0.jpg\n")
    with pytest.raises(DataError, match=r"lacks Flickr_8k.devImages.txt, Flickr_8k.testImages.txt"):
        read_flickr8k(folder, seed=0)


def test_an_image_in_two_splits(tmp_path: Path) -> None:
    folder = write_kaggle(tmp_path)
    write_splits(folder, ["0.jpg"], ["1.jpg"], ["0.jpg"])
    with pytest.raises(DataError, match=r"testImages.txt:1: 0.jpg is in the train list too"):
        read_flickr8k(folder, seed=0)


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    folder = write_kaggle(tmp_path)
    (folder / "captions.txt").write_bytes(b"image,caption\n0.jpg,caf\xe9\n")
    with pytest.raises(DataError, match=r"captions.txt is not UTF-8 text"):
        read_flickr8k(folder, seed=0)


LATIN_1 = os.fsdecode(b"caf\xe9.jpg")


@pytest.mark.parametrize("listed", [b"caf\xe9.jpg", b"caf\\xe9.jpg"])
@pytest.mark.parametrize("write", [write_kaggle, write_original])
def test_a_name_in_latin_1_is_found_by_its_bytes_and_by_what_is_written(
    write: Callable[[Path], Path], listed: bytes, tmp_path: Path
) -> None:
    folder = write(tmp_path)
    for path in [*folder.rglob("0.jpg"), *folder.rglob("*.txt")]:
        if path.suffix == ".jpg":
            path.rename(path.with_name(LATIN_1))
        else:
            path.write_bytes(path.read_bytes().replace(b"0.jpg", listed))
    names = [*NAMES[1:], LATIN_1]
    write_splits(tmp_path, NAMES[1:8], NAMES[8:], [])
    (tmp_path / "Flickr_8k.testImages.txt").write_bytes(listed + b"\n")
    found = read_flickr8k(folder, seed=0)
    assert not found.absent
    assert sorted(os.path.basename(example.location) for example in found.examples) == sorted(names)
    (latin_1,) = (example for example in found.examples if example.split == "test")
    assert latin_1.image_id == "caf\\xe9.jpg"
    assert latin_1.captions == ("a dog , running 0", "a dog , running 1")
    assert read_name(latin_1.image_id) == os.path.basename(latin_1.location) == LATIN_1


def test_a_name_with_a_backslash_stays_what_it_is(tmp_path: Path) -> None:
    rows = [f'{name},"a dog"' for name in [*NAMES[1:], "caf\\xe9.jpg"]]
    folder = write_kaggle(tmp_path, rows)
    (folder / "Images" / "0.jpg").rename(folder / "Images" / "caf\\xe9.jpg")
    found = read_flickr8k(folder, seed=0)
    assert not found.absent
    assert len(found.examples) == len(NAMES)


@pytest.mark.parametrize("write", [write_kaggle, write_original])
def test_folders_behind_links_are_read(write: Callable[[Path], Path], tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    plain = read_flickr8k(write(tmp_path / "real"), seed=0)
    (tmp_path / "raw").mkdir()
    for path in (tmp_path / "real").iterdir():
        (tmp_path / "raw" / path.name).symlink_to(path)
    (tmp_path / "link").symlink_to("raw")
    linked = read_flickr8k(tmp_path / "link", seed=0)
    assert [example._replace(location="") for example in linked.examples] == [
        example._replace(location="") for example in plain.examples
    ]
    assert all(Path(example.location).read_bytes() == b"x" for example in linked.examples)
