"""Reader of Parquet tables whose images are files; needs pyarrow."""

from collections.abc import Iterator
from typing import Any

from imgcap.data.raw.example import Row, Source
from imgcap.data.raw.tables.columns import choose_columns, find_place, make_row
from imgcap.data.raw.tables.finding import find_tables
from imgcap.data.raw.values import FIRST
from imgcap.errors import DataError
from imgcap.files.locations import open_file

TITLE = "Parquet table"
EXAMPLE = "captions.parquet with the columns image (the file's name) and caption"

BATCH = 1024
"""Rows that are in memory as Python's objects at a time."""


def find(folder: str) -> Source | None:
    """Looks for Parquet tables of images and captions in a folder.

    Args:
        folder: location of the data set's folder.

    Returns:
        The source; None if there is no such table. Without pyarrow it is the only table there is.

    Raises:
        DataError: there are several that could be meant.
    """
    return find_tables("parquet", folder, _sample)


def _sample(location: str) -> list[str]:
    """The first images of a table with columns of usual names; DataError for other files."""
    images = []
    for row in rows(location, Source("parquet", (), ())):
        images.append(row.image)
        if len(images) == FIRST:
            break
    return images


def rows(location: str, source: Source) -> Iterator[Row]:
    """Yields one row of the table after the other, in groups as they lie in the file.

    Args:
        location: of the table.
        source: the data set; may name the columns.

    Raises:
        DataError: pyarrow is missing, the file is none of its kind, a column is not clear, or the
            images themselves are in the table.
    """
    try:
        from pyarrow import ArrowException, parquet, types
    except ImportError:
        raise DataError(f"{location}: Parquet needs pyarrow: pip install pyarrow") from None
    place, number = find_place(location, source), 0
    with open_file(location) as file:
        try:
            table: Any = parquet.ParquetFile(file)
            schema = table.schema_arrow
            columns = choose_columns(schema.names, source, location)
            kind = schema.field(columns.image).type
            if types.is_struct(kind) or types.is_binary(kind) or types.is_large_binary(kind):
                raise DataError(
                    f"{location}: the images are inside the column "
                    f"{schema.names[columns.image]!r}: write them to files, and their names there"
                )
            wanted = [columns.image, *columns.captions]
            wanted += [columns.split] if columns.split is not None else []
            names = list(dict.fromkeys(schema.names[column] for column in wanted))
            for batch in table.iter_batches(BATCH, columns=names):
                for entry in batch.to_pylist():
                    number += 1
                    captions = [entry[schema.names[column]] for column in columns.captions]
                    split = entry[schema.names[columns.split]] if columns.split is not None else ""
                    image = entry[schema.names[columns.image]]
                    yield make_row(image, captions, split, place, f"{location}: row {number}")
        except ArrowException as error:
            first = str(error).partition("\n")[0]
            raise DataError(f"{location}: broken Parquet ({first}): fetch it again") from None
