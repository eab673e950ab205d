"""The tuples that every reader of raw data sets returns."""

from pathlib import Path
from typing import NamedTuple

SPLITS = ("train", "dev", "test")


class Example(NamedTuple):
    """One image of a raw data set.

    Attributes:
        image_id: unique name, also the file's name, as `imgcap.files.names.write_name` writes it.
        path: the image file.
        captions: the captions as written by people, at least one.
        split: 'train', 'dev' or 'test'.
    """

    image_id: str
    path: Path
    captions: tuple[str, ...]
    split: str


class RawDataset(NamedTuple):
    """A raw data set: its usable images, and the names of the others.

    Attributes:
        examples: the usable images, in the order of their names.
        absent: names in captions or split files that the image folder lacks.
        unlisted: names of images with captions that no split file lists.
        uncaptioned: names of listed images without a caption.
        split_source: 'official' (split files) or 'seeded' (drawn here).
    """

    examples: list[Example]
    absent: list[str]
    unlisted: list[str]
    uncaptioned: list[str]
    split_source: str
