"""Flickr30k, on files written here: Kaggle's table with its broken row, and the token file."""

from pathlib import Path

import pytest

from imgcap.config import PrepareConfig
from imgcap.data.raw import RawDataset
from imgcap.data.raw.example import Source
from imgcap.data.raw.flickr import flickr30k
from imgcap.data.raw.reading import describe, find_source, read
from imgcap.errors import DataError

HEADER = "image_name| comment_number| comment"
ROWS = [
    "1000092795.jpg| 0| Two young guys , one | two .",
    "1000092795.jpg| 1| 2 young , White males .",
    # As it is published: the separator after the number is missing.
    "2199200615.jpg| 4   A dog runs across the grass .",
]
TOKENS = [
    "1000092795.jpg#0\tTwo young guys , one | two .",
    "1000092795.jpg#1\t2 young , White males .",
    "2199200615.jpg#4\tA dog runs across the grass .",
]
CAPTIONS = {
    "1000092795.jpg": ("Two young guys , one | two .", "2 young , White males ."),
    "2199200615.jpg": ("A dog runs across the grass .",),
}


def write(folder: Path, captions: str, lines: list[str], images: str) -> Path:
    (folder / images).mkdir(parents=True)
    for name in CAPTIONS:
        (folder / images / name).write_bytes(b"x")
    (folder / captions).write_text("\r\n".join(lines) + "\r\n")
    return folder


def read_auto(folder: Path) -> tuple[Source, RawDataset]:
    source = find_source(PrepareConfig(raw_dir=str(folder)))
    return source, read(source, seed=0)


@pytest.mark.parametrize(
    ("captions", "lines", "images"),
    [
        ("results.csv", [HEADER, *ROWS], "flickr30k_images"),
        ("results.csv", [HEADER, *ROWS], "Images"),
        ("results.csv", [HEADER.replace("| ", " | "), *ROWS], "photos"),
        ("flickr30k_images/results.csv", [HEADER, *ROWS], "flickr30k_images/flickr30k_images"),
        ("results_20130124.token", TOKENS, "flickr30k-images"),
    ],
)
def test_layouts(tmp_path: Path, captions: str, lines: list[str], images: str) -> None:
    source, raw = read_auto(write(tmp_path, captions, lines, images))
    assert source.captions_files == (str(tmp_path / captions),)
    assert source.image_roots == (str(tmp_path / images),)
    assert {example.image_id: example.captions for example in raw.examples} == CAPTIONS
    assert not raw.absent
    assert describe(source, raw) == "Flickr30k, 2 images, 3 captions"


@pytest.mark.parametrize("row", ["1000092795.jpg| 0|", "1000092795.jpg, 0, a dog", "| 0| a dog"])
def test_broken_rows(tmp_path: Path, row: str) -> None:
    write(tmp_path, "results.csv", [HEADER, ROWS[0], row], "flickr30k_images")
    with pytest.raises(DataError, match=r"results.csv:3: .* is no row of image_name\| comment_num"):
        read_auto(tmp_path)


def test_a_table_without_its_header_is_not_taken_for_it(tmp_path: Path) -> None:
    write(tmp_path, "results.csv", ["image,caption", "1.jpg,a dog"], "flickr30k_images")
    assert flickr30k.find(str(tmp_path)) is None
