"""The readers of raw data sets by their names, and what they have in common."""

from collections.abc import Iterator
from typing import Protocol

from imgcap.data.raw import coco, karpathy
from imgcap.data.raw.example import Row, Source
from imgcap.data.raw.flickr import flickr8k, flickr30k
from imgcap.data.raw.layout import read_head
from imgcap.data.raw.tables import csv_files, jsonl_files, parquet_files


class Reader(Protocol):
    """What each reader's module has.

    Attributes:
        TITLE: name of the data set or the format, as people call it.
        EXAMPLE: a line that shows the layout.
    """

    TITLE: str
    EXAMPLE: str

    def find(self, folder: str) -> Source | None:
        """Looks whether its layout is in a folder, by names and first lines."""

    def rows(self, location: str, source: Source) -> Iterator[Row]:
        """Yields what each entry of one captions file says; DataError if one is broken."""


READERS: dict[str, Reader] = {
    "flickr8k": flickr8k,
    "flickr30k": flickr30k,
    "coco": coco,
    "karpathy": karpathy,
    "csv": csv_files,
    "jsonl": jsonl_files,
    "parquet": parquet_files,
}
"""Reader by `--dataset`."""

_BY_ENDING = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}


def recognise(location: str) -> str:
    """Tells the reader of a captions file by its first line and its name."""
    ending = location[location.rfind(".") :].lower()
    if ending == ".parquet":  # No text, whose first line could be read.
        return "parquet"
    if ending == ".json":
        return "karpathy" if '"sentences"' in read_head(location) else "coco"
    if flickr30k.looks_right(location):
        return "flickr8k" if "flickr8k" in location.lower() else "flickr30k"
    if ending in _BY_ENDING:
        return _BY_ENDING[ending]
    return "flickr8k" if flickr8k.looks_right(location) else "csv"
