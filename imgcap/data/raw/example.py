"""The tuples that every reader of raw data sets returns."""

from typing import NamedTuple

SPLITS = ("train", "dev", "test")


class Row(NamedTuple):
    """What one entry of a captions file says of one image; an image may have several.

    Attributes:
        image: the image's name or path as written there, with '/' between folders.
        captions: captions as written by people, not empty; none if the entry has no caption.
        split: 'train', 'dev' or 'test'; empty if the file does not say it.
    """

    image: str
    captions: tuple[str, ...]
    split: str = ""


class Source(NamedTuple):
    """Where a raw data set lies: all that its reader needs to yield its rows.

    Attributes:
        dataset: the reader's name, one of `imgcap.config.prepare.DATASETS` but 'auto'.
        captions_files: locations of the files with captions, in the order they are read.
        image_roots: locations of the folders that hold the images; paths in rows are below one.
        split_lists: split to the location of the list of its images; empty if there are none.
        image_column: column or key of the image; empty if the reader knows it or finds it.
        caption_column: column or key of the captions, several joined by commas; empty likewise.
        split_column: column or key of the split; empty if there is none.
    """

    dataset: str
    captions_files: tuple[str, ...]
    image_roots: tuple[str, ...]
    split_lists: dict[str, str] = {}
    image_column: str = ""
    caption_column: str = ""
    split_column: str = ""


class Example(NamedTuple):
    """One image of a raw data set.

    Attributes:
        image_id: unique name: its path below the image folder (of several, below the folder that
            holds them all), as `imgcap.files.names.write_name` writes it.
        location: the image file, a path or an address (`imgcap.files.locations`).
        captions: the captions as written by people, at least one.
        split: 'train', 'dev' or 'test'.
    """

    image_id: str
    location: str
    captions: tuple[str, ...]
    split: str


class RawDataset(NamedTuple):
    """A raw data set: its usable images, and the names of the others.

    Attributes:
        examples: the usable images, in the order of their names.
        absent: names in captions or split files that the image folder lacks.
        unlisted: names of images with captions that no split file lists.
        uncaptioned: names of listed images without a caption.
        split_source: 'official' (split files or rows say it) or 'seeded' (drawn here).
        repeated: rows of a table that repeat image and caption of an earlier one, and are left out.
    """

    examples: list[Example]
    absent: list[str]
    unlisted: list[str]
    uncaptioned: list[str]
    split_source: str
    repeated: int = 0
