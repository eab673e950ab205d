"""Reader of Flickr8k (Hodosh et al. 2013), and of one's own photos in one of its two layouts.

Kaggle's: `Images/` and `captions.txt`, a CSV with the header `image,caption`. The original:
`Flicker8k_Dataset/` and `Flickr8k.token.txt`, lines of `name.jpg#0<TAB>caption`. In either,
`Flickr_8k.{train,dev,test}Images.txt` are the official split, if present.
"""

import csv
from collections.abc import Iterator

from imgcap.data.raw.example import SPLITS, Row, Source
from imgcap.data.raw.flickr.tokens import first_line, is_tokens, rows_of_tokens
from imgcap.data.raw.images import find_root
from imgcap.data.raw.layout import names_image
from imgcap.errors import DataError
from imgcap.files.locations import is_file, is_folder, join
from imgcap.files.text import open_text

TITLE = "Flickr8k"
EXAMPLE = (
    "captions.txt (image,caption) or Flickr8k.token.txt (name.jpg#0<TAB>caption), beside the "
    "photos' folder Images/"
)
IMAGE_FOLDERS = ("Images", "Flicker8k_Dataset", "Flickr8k_Dataset")
CAPTIONS_FILES = ("captions.txt", "Flickr8k.token.txt")
TEXT_FOLDERS = (".", "Flickr8k_text")
_HEADER = ("image", "caption")


def find(folder: str) -> Source | None:
    """Looks whether a folder is in one of the two layouts.

    Args:
        folder: location of the data set's folder.

    Returns:
        What lies where; None if it is in another layout.

    Raises:
        DataError: some of the official lists are missing.
    """
    captions = next(filter(None, (_find_text(folder, name) for name in CAPTIONS_FILES)), None)
    if captions is None or not looks_right(captions):
        return None
    named = (join(folder, name) for name in IMAGE_FOLDERS)
    images = next(filter(is_folder, named), None) or find_root(folder)
    return Source("flickr8k", (captions,), (images,) if images else (), _find_lists(folder))


def rows(location: str, source: Source) -> Iterator[Row]:
    """Reads a captions file of either layout.

    Args:
        location: the file.
        source: not needed.

    Yields:
        One row a caption.

    Raises:
        DataError: a broken row or line.
    """
    del source
    return rows_of_tokens(location) if is_tokens(location) else _rows_of_table(location)


def _find_text(folder: str, name: str) -> str | None:
    """The location of a text file in one of TEXT_FOLDERS; None if it is in none."""
    for inner in TEXT_FOLDERS:
        location = join(folder, name) if inner == "." else join(folder, inner, name)
        if is_file(location):
            return location
    return None


def looks_right(captions: str) -> bool:
    """Whether a captions file is of one of the two layouts, by its first line."""
    first = first_line(captions).split(",")
    return is_tokens(captions) or _is_header(first) or names_image(first[0])


def _is_header(row: list[str]) -> bool:
    return tuple(cell.strip().lower() for cell in row) == _HEADER


def _find_lists(folder: str) -> dict[str, str]:
    """Split to its official list; empty if there are none, DataError if some are missing."""
    names = {split: f"Flickr_8k.{split}Images.txt" for split in SPLITS}
    lists = {split: _find_text(folder, name) for split, name in names.items()}
    lacking = [names[split] for split, location in lists.items() if location is None]
    if lacking and len(lacking) < len(SPLITS):
        raise DataError(
            f"{folder} lacks {', '.join(lacking)}: add the file, or remove the other lists for a "
            "drawn split"
        )
    return {split: location for split, location in lists.items() if location is not None}


def _rows_of_table(location: str) -> Iterator[Row]:
    """Yields one row of Kaggle's CSV a row."""
    with open_text(location) as file:
        # strict: an unclosed quote is an error, else the rest of the file would become one caption.
        reader, started = csv.reader(file, strict=True), False
        try:
            for row in filter(None, reader):
                if started or not _is_header(row):
                    yield _read_row(row, f"{location}:{reader.line_num}", may_be_header=not started)
                started = True
        except csv.Error as error:
            raise DataError(
                f"{location}:{reader.line_num}: broken CSV row ({error}): mend its quotes"
            ) from None


def _read_row(cells: list[str], where: str, *, may_be_header: bool) -> Row:
    """Makes the row of an image and a caption; DataError if it is none."""
    image, caption = cells[0].strip(), cells[-1].strip()
    if may_be_header and not names_image(image):
        raise DataError(
            f"{where}: {','.join(cells)[:60]!r} is neither the header image,caption nor an image: "
            "write that header, or give --dataset=csv"
        )
    if len(cells) != 2 or not image or not caption:
        raise DataError(
            f"{where}: {','.join(cells)[:60]!r} is no row of image,caption: quote captions that "
            "hold commas"
        )
    return Row(image, (caption,))
