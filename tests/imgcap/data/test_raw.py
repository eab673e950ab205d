"""The readers, on folders written here: both layouts, both kinds of split, and every broken
file.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from imgcap.data.raw import drawn, flickr8k
from imgcap.errors import DataError
from imgcap.files.names import read_name

NAMES = [f"{number}.jpg" for number in range(10)]


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
    kaggle = flickr8k.read(write_kaggle(tmp_path / "a"), seed=3)
    original = flickr8k.read(write_original(tmp_path / "b"), seed=3)
    assert [example._replace(location="") for example in kaggle.examples] == [
        example._replace(location="") for example in original.examples
    ]
    assert kaggle.examples[0].captions == ("a dog , running 0", "a dog , running 1")
    assert kaggle.split_source == "seeded"


def test_drawn_split_follows_its_seed(tmp_path: Path) -> None:
    folder = write_kaggle(tmp_path)
    splits = [
        {e.image_id: e.split for e in flickr8k.read(folder, seed).examples} for seed in (0, 0, 1)
    ]
    assert splits[0] == splits[1] != splits[2]
    assert sorted(splits[0].values()) == ["dev", "test", *["train"] * 8]


def test_official_split_counts_what_it_leaves_out(tmp_path: Path) -> None:
    folder = write_kaggle(tmp_path, [f"{name},a dog" for name in NAMES if name != "2.jpg"])
    write_splits(folder, ["0.jpg", "1.jpg", "2.jpg", "gone.jpg"], ["3.jpg"], ["4.jpg"])
    raw = flickr8k.read(folder, seed=0)
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
        flickr8k.read(write_kaggle(tmp_path, rows), seed=0)


def test_broken_token_line(tmp_path: Path) -> None:
    write_original(tmp_path)
    (tmp_path / "Flickr8k_text" / "Flickr8k.token.txt").write_text("0.jpg a dog\n")
    with pytest.raises(
        DataError, match=r"Flickr8k.token.txt:1: '0.jpg a dog' is no line of name.jpg#0<TAB>caption"
    ):
        flickr8k.read(tmp_path, seed=0)


def test_missing_parts(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere is no folder: give --raw_dir"):
        flickr8k.read(tmp_path / "nowhere", seed=0)
    with pytest.raises(DataError, match="has no image folder"):
        flickr8k.read(tmp_path, seed=0)
    (tmp_path / "Images").mkdir()
    with pytest.raises(
        DataError, match=r"has no captions: put captions.txt or Flickr8k.token.txt there"
    ):
        flickr8k.read(tmp_path, seed=0)


def test_some_split_files_only(tmp_path: Path) -> None:
    folder = write_kaggle(tmp_path)
    (folder / "Flickr_8k.trainImages.txt").write_text("0.jpg\n")
    with pytest.raises(DataError, match=r"lacks Flickr_8k.devImages.txt, Flickr_8k.testImages.txt"):
        flickr8k.read(folder, seed=0)


def test_an_image_in_two_splits(tmp_path: Path) -> None:
    folder = write_kaggle(tmp_path)
    write_splits(folder, ["0.jpg"], ["1.jpg"], ["0.jpg"])
    with pytest.raises(DataError, match=r"testImages.txt:1: 0.jpg is in the train list too"):
        flickr8k.read(folder, seed=0)


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    folder = write_kaggle(tmp_path)
    (folder / "captions.txt").write_bytes(b"image,caption\n0.jpg,caf\xe9\n")
    with pytest.raises(DataError, match=r"captions.txt is not UTF-8 text"):
        flickr8k.read(folder, seed=0)


def test_scenes_are_what_their_captions_say() -> None:
    rng = random.Random(5)
    for _ in range(50):
        scene = drawn.draw_scene(rng)
        assert len(scene.captions) == 5
        assert all(scene.shape in caption for caption in scene.captions)
        red, green, blue = drawn.COLOURS[scene.colour]
        near = [
            abs(r - red) + abs(g - green) + abs(b - blue) <= 3 * 14
            for r, g, b in scene.picture.get_flattened_data()
        ]
        # The least shape, a small triangle, covers some 10 % of its picture.
        assert sum(near) > 0.05 * len(near)


def test_same_seed_same_data_set(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        drawn.write_dataset(tmp_path / folder, 20, seed=7)
    files = sorted(
        path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()
    )
    assert len(files) == 24
    assert all(
        (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        for name in files
    )


@pytest.mark.parametrize(
    ("caption", "right"),
    [
        ("a large red ring on a white background", True),
        ("a red square", False),
        ("a green ring", False),
        ("a red and green ring", False),
        ("", False),
    ],
)
def test_judging_a_caption(caption: str, right: bool) -> None:
    references = ["A large red ring on a white background .", "The picture shows a red ring ."]
    assert drawn.names_colour_and_shape(caption, references) is right


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
    found = flickr8k.read(folder, seed=0)
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
    found = flickr8k.read(folder, seed=0)
    assert not found.absent
    assert len(found.examples) == len(NAMES)


@pytest.mark.parametrize("write", [write_kaggle, write_original])
def test_folders_behind_links_are_read(write: Callable[[Path], Path], tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    plain = flickr8k.read(write(tmp_path / "real"), seed=0)
    (tmp_path / "raw").mkdir()
    for path in (tmp_path / "real").iterdir():
        (tmp_path / "raw" / path.name).symlink_to(path)
    (tmp_path / "link").symlink_to("raw")
    linked = flickr8k.read(tmp_path / "link", seed=0)
    assert [example._replace(location="") for example in linked.examples] == [
        example._replace(location="") for example in plain.examples
    ]
    assert all(Path(example.location).read_bytes() == b"x" for example in linked.examples)
