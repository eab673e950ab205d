"""Reader of JSON lines, such as the `metadata.jsonl` of Hugging Face's image folders.

Each line is an object with an image's name and its captions, one text or a list of them.
"""

import json
from collections.abc import Iterator
from typing import Any

from imgcap.data.raw.example import Row, Source
from imgcap.data.raw.layout import read_head, with_slashes
from imgcap.data.raw.tables.columns import (
    Columns,
    choose_columns,
    find_place,
    make_row,
)
from imgcap.data.raw.tables.finding import find_tables
from imgcap.data.raw.values import FIRST
from imgcap.errors import DataError
from imgcap.files.text import open_text

TITLE = "JSON lines"
EXAMPLE = 'metadata.jsonl with lines such as {"file_name": "1.jpg", "text": "A dog runs."}'


def find(folder: str) -> Source | None:
    """Looks for JSON lines of images and captions in a folder, and beside images in its subfolders.

    Args:
        folder: location of the data set's folder.

    Returns:
        The source; None if there is no such file.

    Raises:
        DataError: there are several that could be meant.
    """
    return find_tables("jsonl", folder, _sample)


def _sample(location: str) -> list[str]:
    """The first images of a file with keys of usual names; DataError for other files."""
    lines = read_head(location).split("\n")
    # The last line may be cut.
    whole = [line for line in lines[: max(1, len(lines) - 1)] if line.strip()][:FIRST]
    entries = [_read_entry(line, location) for line in whole]
    nothing = Source("jsonl", (), ())
    images = [
        list(entry.values())[choose_columns(list(entry), nothing, location).image]
        for entry in entries
    ]
    return [with_slashes(image) for image in images if isinstance(image, str)]


def rows(location: str, source: Source) -> Iterator[Row]:
    """Yields one row a line.

    Args:
        location: of the file.
        source: the data set; may name the keys.

    Raises:
        DataError: a line is no object, or the keys of image and captions are missing or not clear.
    """
    place = find_place(location, source)
    known: dict[tuple[str, ...], Columns] = {}
    with open_text(location) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                where = f"{location}:{number}"
                entry = _read_entry(line, where)
                keys, values = tuple(entry), list(entry.values())
                if keys not in known:
                    known[keys] = choose_columns(keys, source, where)
                columns = known[keys]
                captions = [values[column] for column in columns.captions]
                split = values[columns.split] if columns.split is not None else None
                yield make_row(values[columns.image], captions, split, place, where)


def _read_entry(line: str, where: str) -> dict[str, Any]:
    """The object of one line."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "too many brackets"
        raise DataError(f"{where}: broken JSON ({reason}): mend or drop the line") from None
    if not isinstance(entry, dict):
        raise DataError(f"{where}: {line.strip()[:60]!r} is no object: write {EXAMPLE}")
    return entry
