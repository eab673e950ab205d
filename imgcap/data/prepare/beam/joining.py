"""Rows, files and split lists joined image by image: the local road's rules, for one key at a time.

A name meets its file among those that end in the same last name, and a file its captions among the
names that mean it. So each decision needs a few entries, whatever the size of the data set.
Elements are plain tuples, which Beam writes faster than objects; locations are bytes, since a name
may be no text.
"""

import os
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from imgcap.data.raw.example import Example, Source
from imgcap.data.raw.images import ImageFile, LinkGuard, clean_name, key, keys, list_files, match
from imgcap.data.raw.reading import read_rows
from imgcap.data.raw.reading.joining import join_captions
from imgcap.data.raw.splits import join_splits, read_lists
from imgcap.errors import DataError
from imgcap.files.failures import describe

ROW, LISTED, FILE = "row", "listed", "file"
"""Kinds of entries that meet by a key: of a captions file, of a split list, of an image folder."""

Entry = tuple[Any, ...]
"""A kind and its values: (ROW, name, number of the file, number of the row, captions, split),
(LISTED, name, split), (FILE, image_id, path, location).
"""


def read_file(numbered: tuple[int, str], source: Source) -> Iterator[tuple[str, Entry]]:
    """Yields the rows of a captions file, each under the key of its image.

    Args:
        numbered: the number of the file in `source.captions_files`, and its location.
        source: the data set.

    Raises:
        DataError: the file cannot be read, or a row is broken.
    """
    number, location = numbered
    for index, row in enumerate(read_rows(location, source)):
        yield key(row.image), (ROW, row.image, number, index, row.captions, row.split)


def read_split_lists(source: Source) -> Iterator[tuple[str, Entry]]:
    """Yields the images of the split lists, each under its key; DataError if a list is broken."""
    listed = {
        clean_name(name, source.image_roots): split
        for name, split in read_lists(source.split_lists).items()
    }
    for name, split in listed.items():
        yield key(name), (LISTED, name, split)


def find_images(source: Source) -> Iterator[tuple[str, Entry]]:
    """Yields the files in the image folders under their keys; DataError if they cannot be read."""
    try:
        for file in list_files(source.image_roots):
            entry = (FILE, file.image_id, os.fsencode(file.path), os.fsencode(file.location))
            for last_name in keys(file):
                yield last_name, entry
    except OSError as error:
        raise DataError(describe(error)) from None


class NamedImage(NamedTuple):
    """What the entries of one name say.

    Attributes:
        name: of the image, as its rows have it.
        captions: in the order of the rows.
        captioned: whether it has rows, be they without captions.
        row_split: the split that its rows say; empty if they say none.
        listed_split: the split of the list that has it; empty if none has.
    """

    name: str
    captions: tuple[str, ...]
    captioned: bool
    row_split: str
    listed_split: str


class Meeting(NamedTuple):
    """What the entries of one key tell.

    Attributes:
        found: the file of each name that has one.
        absent: the names without a file.
    """

    found: list[tuple[NamedImage, ImageFile]]
    absent: list[NamedImage]


def meet(entries: Iterable[Entry], guard: LinkGuard) -> Meeting:
    """Lets the names of one key find their files.

    Args:
        entries: all that have the key, in any order.
        guard: refuses links that lead out of the image folders.

    Returns:
        Which names have a file, and which have none.

    Raises:
        DataError: a name means two files or has two splits, or a link leads out of the folders.
    """
    by_kind: dict[str, list[Entry]] = {ROW: [], LISTED: [], FILE: []}
    for entry in entries:
        by_kind[entry[0]].append(entry[1:])
    names = _sum_up_names(by_kind[ROW], by_kind[LISTED])
    files = [
        ImageFile(image_id, os.fsdecode(path), os.fsdecode(location))
        for image_id, path, location in sorted(by_kind[FILE], key=lambda entry: entry[2])
    ]
    found = match(sorted(names), files)
    for file in found.values():
        guard.check(file)
    return Meeting(
        [(names[name], file) for name, file in found.items()],
        [image for name, image in names.items() if name not in found],
    )


def _sum_up_names(rows: Iterable[Entry], listed: Iterable[Entry]) -> dict[str, NamedImage]:
    """What rows and lists say of each name."""
    by_name: dict[str, list[Entry]] = {}
    for name, *row in sorted(rows, key=lambda row: row[1:3]):
        by_name.setdefault(name, []).append(tuple(row))
    lists: dict[str, str] = dict(listed)
    return {
        name: NamedImage(
            name,
            tuple(text for row in by_name.get(name, ()) for text in row[2]),
            name in by_name,
            join_splits(name, (row[3] for row in by_name.get(name, ()))),
            lists.get(name, ""),
        )
        for name in {**by_name, **lists}
    }


def join_image(
    image_id: str, location: str, names: Iterable[NamedImage], source: Source, has_lists: bool
) -> Example:
    """Joins what the names of one image say.

    Args:
        image_id: the image.
        location: of its file.
        names: all that mean it, in any order.
        source: the data set.
        has_lists: whether the split is that of lists; else it is that of rows.

    Returns:
        The image; with no captions if there are none, and an empty split if none is said.

    Raises:
        DataError: it has two splits.
    """
    ordered = sorted(names, key=lambda image: image.name)
    captions = join_captions(source, (text for image in ordered for text in image.captions))
    splits = (image.listed_split if has_lists else image.row_split for image in ordered)
    return Example(image_id, location, captions, join_splits(ordered[0].name, splits))
