"""Splits: their names, official lists, and the draw."""

from collections import Counter
from pathlib import Path

import pytest

from imgcap.data.raw.order import position
from imgcap.data.raw.splits import draw, find_split, join_splits, parse_split, read_lists
from imgcap.errors import DataError


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (("train", "Training", " TRAIN ", "restval"), "train"),
        (("dev", "val", "valid", "Validation"), "dev"),
        (("test", "Testing"), "test"),
        (("", "other", "tests"), ""),
    ],
)
def test_names_of_splits(names: tuple[str, ...], split: str) -> None:
    assert {find_split(name) for name in names} == {split}


def test_a_name_of_no_split() -> None:
    assert parse_split("", "a.csv:1") == parse_split("  ", "a.csv:1") == ""
    assert parse_split("Val", "a.csv:1") == "dev"
    with pytest.raises(DataError, match=r"^a.csv:1: 'holdout' is no split: write train, .*, test"):
        parse_split("holdout", "a.csv:1")


def test_lists_with_any_line_ends(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbf1.jpg\r\n\r\nsub/2.jpg  \r\n")
    (tmp_path / "b").write_bytes("é.jpg".encode("utf-16"))
    lists = {"train": str(tmp_path / "a"), "dev": str(tmp_path / "b")}
    assert read_lists(lists) == {"1.jpg": "train", "sub/2.jpg": "train", "é.jpg": "dev"}


def test_lists_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1.jpg\n1.jpg\n")
    (tmp_path / "b").write_text("2.jpg\n1.jpg\n")
    lists = {"train": str(tmp_path / "a"), "test": str(tmp_path / "b")}
    with pytest.raises(DataError, match=r"b:2: 1.jpg is in the train list too: drop one"):
        read_lists(lists)
    with pytest.raises(DataError, match=r"gone cannot be read as text"):
        read_lists({"train": str(tmp_path / "gone")})


def test_rows_of_one_image_agree() -> None:
    assert join_splits("1.jpg", ["", "dev", "", "dev"]) == "dev"
    assert join_splits("1.jpg", ["", ""]) == ""
    with pytest.raises(DataError, match=r"^1.jpg is in the splits dev and train: leave it in one"):
        join_splits("1.jpg", ["train", "dev"])


@pytest.mark.parametrize(
    ("images", "held_out"), [(1, 1), (2, 1), (5, 1), (14, 1), (15, 2), (16, 2), (1000, 100)]
)
def test_a_drawn_split_has_a_tenth_each(images: int, held_out: int) -> None:
    splits = draw([f"{number}.jpg" for number in range(images)], seed=3)
    counts = Counter(splits.values())
    assert counts["dev"] == held_out
    assert counts["test"] == min(held_out, images - held_out)
    assert sum(counts.values()) == images


def test_the_lowest_positions_are_held_out() -> None:
    names = [f"{number}.jpg" for number in range(40)]
    splits = draw(names, seed=5)
    ranked = sorted(names, key=lambda name: position(5, name, "split"))
    assert [splits[name] for name in ranked] == ["dev"] * 4 + ["test"] * 4 + ["train"] * 32
    assert draw(names[::-1], seed=5) == splits != draw(names, seed=6)


def test_positions_are_what_they_were() -> None:
    # By hashlib in another process; a changed hash would mix the splits of data of before.
    import hashlib

    expected = hashlib.blake2b(b"split\x007\x00caf\xc3\xa9.jpg", digest_size=8).digest()
    assert position(7, "café.jpg", "split") == int.from_bytes(expected, "big")
