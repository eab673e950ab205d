"""Reader of tables as text: CSV, TSV, and those with semicolons or bars between columns.

The first row names the columns. Without it, a table has two columns: an image and a caption.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from imgcap.data.raw.example import Row, Source
from imgcap.data.raw.layout import HEAD, names_image, read_head, with_slashes
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

TITLE = "CSV table"
EXAMPLE = "captions.csv with a line for the columns, image,caption, and one for each caption"

SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}


class Form(NamedTuple):
    """How a table is written.

    Attributes:
        separator: the character between columns.
        width: number of columns.
        header: names of the columns; empty if the first row is an image already.
        image: number of the column with an image's name in that row; None if there is a header.
    """

    separator: str
    width: int
    header: tuple[str, ...]
    image: int | None


def find(folder: str) -> Source | None:
    """Looks for tables of images and captions in a folder.

    Args:
        folder: location of the data set's folder.

    Returns:
        The source; None if there is no such table.

    Raises:
        DataError: there are several that could be meant.
    """
    return find_tables("csv", folder, _sample)


def _sample(location: str) -> list[str]:
    """The first images of a table with columns of usual names, or none; else DataError."""
    head, nothing = read_head(location), Source("csv", (), ())
    form = find_form(head, location)
    columns = _columns_of(form, nothing, location)
    rows = _first_rows(head, form.separator)[0][1 if form.image is None else 0 :]
    return [with_slashes(row[columns.image].strip()) for row in rows if len(row) > columns.image]


def rows(location: str, source: Source) -> Iterator[Row]:
    """Yields one row of the table after the other.

    Args:
        location: of the table.
        source: the data set; may name the columns.

    Raises:
        DataError: the separator or a column is not clear, or a row is broken; names the line.
    """
    form = find_form(read_head(location), location)
    columns, place = _columns_of(form, source, location), find_place(location, source)
    for number, cells in _records(location, form):
        where = f"{location}:{number}"
        captions = [_list_or_text(cells[column]) for column in columns.captions]
        split = cells[columns.split].strip() if columns.split is not None else ""
        yield make_row(cells[columns.image], captions, split, place, where)


def find_form(head: str, location: str) -> Form:
    """Finds how a table is written, by its first rows.

    Args:
        head: beginning of the file.
        location: of the file, for the error.

    Raises:
        DataError: it has one column, or several separators fit.
    """
    fits = {}
    for separator in SEPARATORS:
        rows, broken = _first_rows(head, separator)
        if rows and len(rows[0]) > 1:
            fits[separator] = not broken and _is_even(rows)
    if len(fits) > 1:
        fits = {separator: even for separator, even in fits.items() if even} or fits
    if len(fits) != 1:
        raise _unclear(head, list(fits), location)
    separator = next(iter(fits))
    first = _first_rows(head, separator)[0][0]
    image = next((number for number, cell in enumerate(first) if names_image(cell)), None)
    header = tuple(cell.strip() for cell in first) if image is None else ()
    return Form(separator, len(first), header, image)


def _first_rows(head: str, separator: str) -> tuple[list[list[str]], bool]:
    """The first rows that are not empty, and whether one is broken by its quotes."""
    whole = head if len(head) < HEAD else head[: max(head.rfind("\n"), head.rfind("\r")) + 1]
    reader = _reader(io.StringIO(whole, newline=""), separator)
    rows: list[list[str]] = []
    try:
        for row in reader:
            if any(map(str.strip, row)):
                rows.append(row)
            if len(rows) == FIRST:
                break
    except csv.Error:
        # The end of a head may be inside of quotes.
        return rows, len(head) < HEAD
    return rows, False


def _is_even(rows: list[list[str]]) -> bool:
    """Whether rows have as many columns as the first, and images where it has them."""
    width, images = len(rows[0]), [names_image(cell) for cell in rows[0]]
    return all(
        len(_cut(row, width)) == width
        and (not any(images) or [names_image(cell) for cell in row] == images)
        for row in rows
    )


def _cut(row: list[str], width: int) -> list[str]:
    """A row without the empty cells after its last column, which spreadsheets add."""
    return row[:width] if not any(map(str.strip, row[width:])) else row


def _unclear(head: str, fits: list[str], location: str) -> DataError:
    """What to say of a table whose separator is not clear."""
    first = head.strip().partition("\n")[0].strip()[:60]
    if not first:
        return DataError(f"{location} is empty: write a line such as image,caption and the rows")
    if not fits:
        return DataError(
            f"{location}:1: {first!r} is one column: put a comma, a semicolon, a tab or a bar "
            "between image and caption"
        )
    names = " or ".join(SEPARATORS[separator] for separator in fits)
    return DataError(
        f"{location}:1: {first!r}: {names} could be between the columns: use one of them in the "
        "first line, and quotes around captions that hold it"
    )


def _columns_of(form: Form, source: Source, location: str) -> Columns:
    """The columns of a table."""
    if form.image is None:
        return choose_columns(form.header, source, f"{location}:1")
    if source.image_column or source.caption_column or source.split_column:
        raise DataError(
            f"{location}:1: the first row is an image, so columns have no names: add a first row "
            "with them"
        )
    if form.width != 2:
        raise DataError(
            f"{location}:1: {form.width} columns without names: add a first row with them"
        )
    return Columns(form.image, (1 - form.image,), None)


def _records(location: str, form: Form) -> Iterator[tuple[int, list[str]]]:
    """Yields line, from 1, and cells of each row that is not empty, without the header."""
    started = form.image is not None
    with open_text(location) as file:
        reader, number = _reader(file, form.separator), 1
        try:
            for row in reader:
                if started and any(map(str.strip, row)):
                    yield number, _check_width(row, form, f"{location}:{number}")
                started = started or any(map(str.strip, row))
                number = reader.line_num + 1
        except csv.Error as error:
            raise DataError(
                f"{location}:{number}: broken CSV row ({error}): mend its quotes"
            ) from None


def _check_width(row: list[str], form: Form, where: str) -> list[str]:
    """Returns the cells of a row; DataError if they are too few or too many."""
    cells = _cut(row, form.width)
    if len(cells) != form.width:
        separator = SEPARATORS[form.separator]
        remedy = (
            f"write {separator} before each column, empty ones too"
            if len(cells) < form.width
            else f"put quotes around captions that hold {separator}"
        )
        raise DataError(f"{where}: {len(cells)} columns, not {form.width}: {remedy}")
    return cells


def _reader(lines: Iterable[str], separator: str) -> Any:
    """A `csv.reader`; an unclosed quote is an error, else the rest would become one caption."""
    return csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=True)


def _list_or_text(cell: str) -> str | list[str]:
    """A cell's text, or the texts of a JSON list of texts, as some tables keep several captions."""
    if not cell.lstrip().startswith('["'):
        return cell
    try:
        texts = json.loads(cell)
    except ValueError:
        return cell
    return texts if all(isinstance(text, str) for text in texts) else cell
