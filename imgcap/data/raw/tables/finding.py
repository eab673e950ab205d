"""Finding the tables of a folder that have images and captions, and the images' folder."""

from collections.abc import Callable

from imgcap.data.raw.example import Source
from imgcap.data.raw.images import find_root
from imgcap.data.raw.layout import (
    choose_files,
    find_captions,
    folder_below,
    folder_of,
    put_below,
    root_holding,
)
from imgcap.data.raw.tables.columns import METADATA
from imgcap.errors import DataError
from imgcap.files.locations import join, list_folder

ENDINGS = {
    "csv": (".csv", ".tsv", ".txt"),
    "jsonl": (".jsonl", ".ndjson"),
    "parquet": (".parquet",),
}
"""Endings of the files of each reader; `.txt` may be anything."""


def find_tables(dataset: str, folder: str, sample: Callable[[str], list[str]]) -> Source | None:
    """Finds the tables of one kind.

    Args:
        dataset: the reader's name.
        folder: location of the data set's folder.
        sample: reads the first images of a table; DataError if it has no such columns.

    Returns:
        The source. If no table has columns of usual names, it is the only table of the folder,
        whose reader then says what is missing; None if there are none or several.

    Raises:
        DataError: there are several that could be meant.
    """

    def is_known(location: str) -> bool:
        try:
            return bool(sample(location))
        except DataError:
            return False

    endings = ENDINGS[dataset]
    files = find_captions(folder, endings, is_known, f"{METADATA}{endings[0]}")
    if not files:
        return _find_only(dataset, folder)
    chosen = choose_files(files)
    return Source(dataset, chosen, (_find_root(folder, chosen, sample),))


def _find_only(dataset: str, folder: str) -> Source | None:
    """The only table of a folder, if it is of that kind and no text of any other content."""
    kinds = tuple(ending for endings in ENDINGS.values() for ending in endings if ending != ".txt")
    names = [name for name in list_folder(folder) if name.lower().endswith(kinds)]
    if len(names) != 1 or not names[0].lower().endswith(ENDINGS[dataset]):
        return None
    return Source(dataset, (join(folder, names[0]),), (folder,))


def _find_root(folder: str, files: tuple[str, ...], sample: Callable[[str], list[str]]) -> str:
    """The folder below which the images of tables lie: beside them, or anywhere in `folder`."""
    own = {folder_of(file) for file in files}
    images = [name for file in files for name in sample(file)]
    beside = [
        put_below(folder_below(file, (folder,)), name) for file in files for name in sample(file)
    ]
    return (
        (root_holding(own.pop(), images) if len(own) == 1 else None)
        or root_holding(folder, beside)
        or root_holding(folder, images)
        or find_root(folder)
        or folder
    )
