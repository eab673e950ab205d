"""Reader of Flickr30k (Young et al. 2014) in its two layouts.

Kaggle's: `flickr30k_images/` and `results.csv`, whose columns are separated by ` | ` and whose
header is `image_name| comment_number| comment`. The original: `results_20130124.token`, lines of
`name.jpg#0<TAB>caption`. Its captions come without splits.
"""

import re
from collections.abc import Iterator

from imgcap.data.raw.example import Row, Source
from imgcap.data.raw.flickr.tokens import first_line, is_tokens, rows_of_tokens
from imgcap.data.raw.images import find_root
from imgcap.errors import DataError
from imgcap.files.locations import is_file, is_folder, join
from imgcap.files.text import read_lines

TITLE = "Flickr30k"
EXAMPLE = (
    "results.csv (image_name| comment_number| comment) or results_20130124.token "
    "(name.jpg#0<TAB>caption), beside the photos' folder flickr30k_images/"
)
IMAGE_FOLDERS = ("flickr30k_images", "flickr30k-images")
TABLE_NAME = "results.csv"
TOKEN_NAMES = ("results_20130124.token", "results.token")
# Kaggle's archive has the table inside the image folder.
TEXT_FOLDERS = (".", "flickr30k", *IMAGE_FOLDERS)
_HEADER = re.compile(r"image_name\s*\|\s*comment_number\s*\|\s*comment", re.IGNORECASE)
# One row of the published table lacks the second separator:
#   2199200615.jpg| 4   A dog runs across the grass .
_ROW = re.compile(r"(?P<name>[^|]+?)\s*\|\s*\d+\s*(?:\||\s)\s*(?P<caption>[^\s|].*)", re.DOTALL)


def find(folder: str) -> Source | None:
    """Looks whether a folder is in one of the two layouts.

    Args:
        folder: location of the data set's folder.

    Returns:
        What lies where; None if it is in another layout.
    """
    candidates = (
        join(folder, name) if inner == "." else join(folder, inner, name)
        for name in (TABLE_NAME, *TOKEN_NAMES)
        for inner in TEXT_FOLDERS
    )
    captions = next((file for file in candidates if is_file(file) and looks_right(file)), None)
    if captions is None:
        return None
    named = (join(folder, name) for name in IMAGE_FOLDERS)
    images = next(filter(is_folder, named), None) or find_root(folder)
    # The archive's folder holds a folder of the same name.
    if images and is_folder(inner := join(images, images.rpartition("/")[2])):
        images = inner
    return Source("flickr30k", (captions,), (images,) if images else ())


def looks_right(location: str) -> bool:
    """Whether the first line of a captions file is of one of the two layouts."""
    return is_tokens(location) or _HEADER.match(first_line(location)) is not None


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


def _rows_of_table(location: str) -> Iterator[Row]:
    """Yields one row of Kaggle's table a line."""
    for number, line in read_lines(location):
        if number == 1 and _HEADER.match(line):
            continue
        parts = _ROW.fullmatch(line)
        if not parts:
            raise DataError(
                f"{location}:{number}: {line[:60]!r} is no row of image_name| comment_number| "
                "comment: mend or drop it"
            )
        yield Row(parts["name"].strip(), (parts["caption"].strip(),))
