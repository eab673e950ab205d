"""The readers of raw data sets by their names, and what they have in common."""

from collections.abc import Iterator
from typing import Protocol

from imgcap.data.raw.example import Row, Source
from imgcap.data.raw.flickr import flickr8k


class Reader(Protocol):
    """What each reader's module has.

    Attributes:
        TITLE: name of the data set or the format, as people call it.
        EXAMPLE: a line that shows the layout.
    """

    TITLE: str
    EXAMPLE: str

    def find(self, folder: str) -> Source | None: ...
    def rows(self, location: str, source: Source) -> Iterator[Row]: ...


READERS: dict[str, Reader] = {"flickr8k": flickr8k}
"""Reader by `--dataset`, in the order in which `auto` looks."""

TABLES = ("csv", "jsonl", "parquet")
"""Readers of people's own tables: their columns can be given, and repeated rows are slips."""
