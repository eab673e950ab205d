"""Which columns of a table are images, captions and splits, and the rows that their values make."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from imgcap.data.raw.example import Row, Source
from imgcap.data.raw.layout import folder_below, folder_of, put_below, split_named, split_of_file
from imgcap.data.raw.splits import parse_split
from imgcap.data.raw.values import read_captions, require_text
from imgcap.errors import DataError
from imgcap.files.locations import base_name

IMAGES = re.compile(
    r"images?|img|photo|picture|(image_|img_)?(file|filename|file_name|filepath|file_path|path)"
    r"|(image|img|photo|picture)_?name"
)
CAPTIONS = re.compile(r"(captions?|texts?|comments?|descriptions?|sentences?|raw)(_?\d+)?")
SPLITS = re.compile(r"split")
"""What columns are called in most tables, in lower case, with `_` for blanks and hyphens."""

METADATA = "metadata"
"""The name of tables whose images lie beside them, in image folders of Hugging Face."""


class Columns(NamedTuple):
    """Where in a row the values are.

    Attributes:
        image: number of the image's column, from 0.
        captions: numbers of the captions' columns, at least one.
        split: number of the split's column; None if there is none.
    """

    image: int
    captions: tuple[int, ...]
    split: int | None


class Place(NamedTuple):
    """What a table says of all its rows by its name.

    Attributes:
        split: of all its images; empty if its name does not tell.
        folder: that its images' names are relative to, below the image folders, with a final '/';
            empty for the image folders themselves.
    """

    split: str
    folder: str


def choose_columns(names: Sequence[str], source: Source, where: str) -> Columns:
    """Finds the columns of a table: those that flags name, else those of usual names.

    Args:
        names: of all columns, in their order.
        source: may name the columns.
        where: file and line, for the error.

    Raises:
        DataError: a column is missing, or several could be meant; names all columns.
    """
    images = _named(names, [source.image_column], where) or _usual(names, IMAGES)
    wanted = source.caption_column
    # A name may itself have a comma.
    given = [wanted] if wanted in names else [name.strip() for name in wanted.split(",")]
    captions = _named(names, given, where) or _usual(names, CAPTIONS)
    splits = _named(names, [source.split_column], where) or _usual(names, SPLITS)
    _require_one(images, "images", "--image_column", names, where)
    if not wanted:
        # caption_0, caption_1, … belong together; caption and text do not.
        stems = {re.sub(r"_?\d+$", "", _plain(names[number])) for number in captions}
        _require_one(list(stems), "captions", "--caption_column", names, where)
    if len(splits) > 1:
        _require_one(splits, "splits", "--split_column", names, where)
    return Columns(images[0], tuple(captions), splits[0] if splits else None)


def _named(names: Sequence[str], wanted: Sequence[str], where: str) -> list[int]:
    """The numbers of the columns that flags name; empty if they name none."""
    numbers = []
    for name in filter(None, wanted):
        same = [number for number, other in enumerate(names) if other == name]
        alike = [number for number, other in enumerate(names) if _plain(other) == _plain(name)]
        if not alike:
            raise DataError(f"{where}: no column {name} among {_list(names)}: give one of these")
        numbers += same or alike
    return numbers


def _usual(names: Sequence[str], usual: re.Pattern[str]) -> list[int]:
    """The numbers of the columns with usual names."""
    return [number for number, name in enumerate(names) if usual.fullmatch(_plain(name))]


def _plain(name: str) -> str:
    """The name of a column, however it is written."""
    return re.sub(r"[\s-]+", "_", name.strip().casefold())


def _require_one(
    found: Sequence[object], what: str, flag: str, names: Sequence[str], where: str
) -> None:
    """Raises DataError unless one column, or one group of them, was found."""
    if len(found) != 1:
        problem = f"several columns could be {what}" if found else f"no column is known as {what}"
        raise DataError(f"{where}: {problem} among {_list(names)}: name it by {flag}")


def _list(names: Sequence[str]) -> str:
    """The first names, in quotes."""
    return ", ".join(repr(name[:40]) for name in names[:12]) + (", …" if len(names) > 12 else "")


def find_place(location: str, source: Source) -> Place:
    """Finds what a table's own name and folder say of its rows.

    Args:
        location: of the table.
        source: the data set.
    """
    own, folder = base_name(folder_of(location)), ""
    if is_metadata(location):
        folder = folder_below(location, source.image_roots)
    elif split_named(own):
        folder = f"{own}/"
    return Place(split_of_file(location, source.captions_files), folder)


def is_metadata(location: str) -> bool:
    """Whether a table describes the images beside it."""
    return base_name(location).lower().startswith(f"{METADATA}.")


def make_row(image: Any, captions: Iterable[Any], split: Any, place: Place, where: str) -> Row:
    """Makes the row of one entry of a table.

    Args:
        image: its value in the column of images.
        captions: its values in the columns of captions, each a text, a list of texts or None.
        split: its value in the column of splits; None or empty if it has none.
        place: what the table says of all rows.
        where: file and line, for errors.

    Raises:
        DataError: a value is none that such a column can have.
    """
    if isinstance(image, dict):
        raise DataError(
            f"{where}: the image is inside the table: write it to a file, and its name here"
        )
    name = put_below(place.folder, require_text(image, "the image", where))
    texts = [text for value in captions for text in read_captions(value, "the caption", where)]
    named = parse_split(require_text(split, "the split", where), where) if split else ""
    return Row(name, tuple(texts), named or place.split)
