"""Finding the images of --input, and cutting them into shards: always the same ones."""

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from imgcap.data.manifest import NAME as MANIFEST
from imgcap.data.manifest import Manifest, load_manifest, shard_paths
from imgcap.data.raw.example import Source
from imgcap.data.raw.layout import folder_of, read_head
from imgcap.data.raw.tables import csv_files, jsonl_files, parquet_files
from imgcap.data.raw.tables.columns import IMAGES, find_place
from imgcap.errors import ConfigError, DataError
from imgcap.files.checked import digest_bytes
from imgcap.files.locations import (
    base_name,
    find_files,
    has_pattern,
    is_file,
    is_folder,
    is_remote,
    join,
    open_file,
    walk,
)
from imgcap.files.names import find_path, write_name
from imgcap.files.text import read_lines
from serving.cli.batch.config import InputConfig
from serving.client.images import SUFFIXES

_READERS = {
    ".csv": csv_files,
    ".tsv": csv_files,
    ".jsonl": jsonl_files,
    ".parquet": parquet_files,
}
_LISTS = (".txt", ".lst", ".list")


class Reference(NamedTuple):
    """One image of a job, or all the images of one shard of prepared data.

    Attributes:
        image: what answers call it: its path, or its name as a table has it; empty for a shard.
        location: its file, or the shard's.
    """

    image: str
    location: str


class Input(NamedTuple):
    """The images of a job.

    Attributes:
        shards: the images of each shard.
        images: number of all images; None if only `shards` tells.
        fingerprint: of the file that names the images; empty if they were looked for.
    """

    shards: Iterator[list[Reference]]
    images: int | None = None
    fingerprint: str = ""


def find_input(config: InputConfig) -> Input:
    """Finds out what --input is; the images are listed as `shards` is taken.

    Raises:
        ConfigError: there is nothing, or something else than images, a table or a manifest.
        DataError: a table or a manifest is broken, then or as `shards` is taken.
    """
    location = config.input
    if is_folder(location):
        found = (path for path in walk(location) if path.lower().endswith(SUFFIXES))
        return _cut(_of_files(found), config)
    if not is_file(location):
        if not has_pattern(location):
            raise ConfigError(f"--input={location} does not exist: name a folder, a glob or a file")
        return _cut(_of_files(find_files(location)), config)
    name = base_name(location).lower()
    if name == MANIFEST:
        return _find_records(config)
    if config.split:
        raise ConfigError(f"--split={config.split} is for prepared data: give their {MANIFEST}")
    ending = name[name.rfind(".") :]
    if ending in SUFFIXES:
        return _cut(_of_files([location]), config)
    if ending not in (*_READERS, *_LISTS):
        raise ConfigError(
            f"--input={location} is no image, no table ({', '.join(_READERS)}), no list "
            f"({', '.join(_LISTS)}) and no {MANIFEST}: rename it by what it is"
        )
    root = config.image_root or folder_of(location)
    names = _names_of(location, ending, config)
    references = (_refer(image, root) for image in _only_once(names))
    return _cut(references, config)._replace(fingerprint=_digest(location))


def _of_files(found: Iterable[str]) -> Iterator[Reference]:
    return (Reference(write_name(path), path) for path in found)


def _cut(references: Iterator[Reference], config: InputConfig) -> Input:
    """Cuts images into shards of a size."""
    shards = iter(lambda: list(itertools.islice(references, config.images_per_shard)), [])
    return Input(shards)


def _refer(image: str, root: str) -> Reference:
    """The image that a table or a list names."""
    location = image if is_remote(image) else join(root, image)
    return Reference(write_name(image), find_path(location))


def _only_once(names: Iterator[str]) -> Iterator[str]:
    """Leaves out names that came before: tables of captions name an image several times."""
    seen: set[bytes] = set()
    for name in names:
        # 16 bytes a name, so that a table of millions fits into memory.
        known = digest_bytes(name.encode("utf-8", "surrogateescape")).encode()
        if known not in seen:
            seen.add(known)
            yield name


def _digest(location: str) -> str:
    """A fingerprint of a file's content, read in pieces."""
    found = ""
    with open_file(location) as file:
        while piece := file.read(2**20):
            found = digest_bytes(found.encode() + piece)
    return found


def _names_of(location: str, ending: str, config: InputConfig) -> Iterator[str]:
    """Yields the names of images in a table or a list, as they stand there."""
    if ending in _LISTS or (ending in (".csv", ".tsv") and _has_one_column(location)):
        yield from _lines_of(location)
        return
    column = config.image_column or _find_column(location, ending)
    # A caption is not needed, so the image's own column stands for it.
    source = Source(ending[1:], (location,), ("",), image_column=column, caption_column=column)
    start = find_place(location, source).folder
    for row in _READERS[ending].rows(location, source):
        yield row.image.removeprefix(start)


def _lines_of(location: str) -> Iterator[str]:
    """Yields the lines of a list; a first one such as `image` is a header."""
    for number, line in read_lines(location):
        name = line.strip('"')
        if number > 1 or not _is_usual(name):
            yield name


def _has_one_column(location: str) -> bool:
    first = read_head(location).strip().partition("\n")[0]
    return not any(separator in first for separator in csv_files.SEPARATORS)


def _find_column(location: str, ending: str) -> str:
    """The column with images, by its name; empty for a table whose columns have no names."""
    names = _column_names(location, ending)
    usual = [name for name in names if _is_usual(name)]
    if names and len(usual) != 1:
        problem = "several columns could be images" if usual else "no column is known as images"
        listed = ", ".join(repr(name[:40]) for name in names[:12])
        raise DataError(f"{location}: {problem} among {listed}: name it by --image_column")
    return usual[0] if usual else ""


def _column_names(location: str, ending: str) -> Sequence[str]:
    if ending == ".parquet":
        try:
            from pyarrow import ArrowException, parquet
        except ImportError:
            raise DataError(f"{location}: Parquet needs pyarrow: pip install pyarrow") from None
        try:
            with open_file(location) as file:
                return list(parquet.read_schema(file).names)
        except ArrowException:
            return []  # The reader says what is wrong with it.
    head = read_head(location)
    if ending != ".jsonl":
        return csv_files.find_form(head, location).header
    try:
        entry = json.loads(head.strip().partition("\n")[0])
    except ValueError:
        return []
    return list(entry) if isinstance(entry, dict) else []


def _is_usual(name: str) -> bool:
    """Whether a column of that name most often has images."""
    return IMAGES.fullmatch(re.sub(r"[\s-]+", "_", name.strip().casefold())) is not None


def _find_records(config: InputConfig) -> Input:
    """The shards of prepared data, which hold the images themselves."""
    folder = folder_of(config.input)
    manifest = load_manifest(folder)
    splits = config.split.split("+") if config.split else _splits_of(manifest)
    shards = [str(path) for split in splits for path in shard_paths(folder, manifest, split)]
    return Input(
        ([Reference("", location)] for location in shards),
        sum(manifest.images[split] for split in splits),
        manifest.fingerprint,
    )


def _splits_of(manifest: Manifest) -> list[str]:
    return [split for split, images in manifest.images.items() if images]
