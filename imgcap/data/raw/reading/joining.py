"""Rows of captions files, image files and splits, joined to one data set.

What is decided of one image is decided by functions of that image alone, so that a data set which
no machine holds whole is read by the same rules.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping

from imgcap.config.prepare import TABLES
from imgcap.data.raw.example import Example, RawDataset, Row, Source
from imgcap.data.raw.images import ImageFile, ImageIndex, clean_name
from imgcap.data.raw.reading.readers import READERS
from imgcap.data.raw.splits import draw, join_splits, read_lists
from imgcap.errors import DataError
from imgcap.files.failures import describe as describe_failure
from imgcap.files.names import is_text


def read_rows(location: str, source: Source) -> Iterator[Row]:
    """Yields the rows of one captions file, checked, with names as `clean_name` makes them.

    Args:
        location: one of `source.captions_files`.
        source: the data set.

    Raises:
        DataError: the file cannot be read, a row is broken, a caption is no text, or an image lies
            outside of the image folders.
    """
    image = name = ""
    try:
        for row in READERS[source.dataset].rows(location, source):
            text = "".join(row.captions)
            if not (text.isascii() or is_text(text)):
                raise DataError(
                    f"{location} is not UTF-8 text (a caption of {row.image}): convert it"
                )
            if row.image != image:
                image, name = row.image, clean_name(row.image, source.image_roots)
            yield row if name == image else row._replace(image=name)
    except OSError as error:
        raise DataError(describe_failure(error)) from None


def join_captions(source: Source, captions: Iterable[str]) -> tuple[str, ...]:
    """The captions of one image, of all its rows.

    In a table a row that repeats image and caption is a slip and counts once. In a published data
    set each caption counts, since two people may have written the same words.

    Args:
        source: the data set.
        captions: in the order of the rows.
    """
    return tuple(dict.fromkeys(captions) if source.dataset in TABLES else captions)


def read(source: Source, seed: int) -> RawDataset:
    """Reads images, captions and splits into memory; opens no image.

    Args:
        source: where they lie.
        seed: of the split, if the data set has none.

    Returns:
        The usable images, and the names of the others.

    Raises:
        DataError: a folder or file is missing or broken; one line with its name and the remedy.
    """
    captions: dict[str, list[str]] = {}
    row_splits: dict[str, str] = {}
    for location in source.captions_files:
        for image, texts, split in read_rows(location, source):
            captions.setdefault(image, []).extend(texts)
            if split:
                row_splits[image] = join_splits(image, (row_splits.get(image, ""), split))
    listed = {
        clean_name(name, source.image_roots): split
        for name, split in read_lists(source.split_lists).items()
    }
    files = _find_images(source, captions, listed)
    return _join(source, seed, captions, listed or row_splits, files)


def _find_images(
    source: Source, captions: Mapping[str, list[str]], listed: Mapping[str, str]
) -> dict[str, ImageFile]:
    """Name to file, of all images that have captions or are listed."""
    try:
        index = ImageIndex(source.image_roots)
    except OSError as error:
        raise DataError(describe_failure(error)) from None
    files = index.find(dict.fromkeys([*captions, *listed]))
    if not files.keys() & captions.keys():
        raise DataError(
            f"{', '.join(source.image_roots)} holds none of the {len(captions)} captioned images: "
            f"unpack the photos there, such as {next(iter(captions), 'photo.jpg')}, or give "
            "--images=FOLDER"
        )
    return files


def _join(
    source: Source,
    seed: int,
    captions: Mapping[str, list[str]],
    official: Mapping[str, str],
    files: Mapping[str, ImageFile],
) -> RawDataset:
    """Joins what was read of each name, of which several may mean one file."""
    names: dict[ImageFile, list[str]] = {}
    for name in sorted(files):
        names.setdefault(files[name], []).append(name)
    texts, splits = {}, {}
    for file, known in names.items():
        written = [captions.get(name, ()) for name in known]
        texts[file.image_id] = join_captions(source, itertools.chain.from_iterable(written))
        named = [official.get(name, "") for name in known]
        splits[file.image_id] = named[0] if len(named) == 1 else join_splits(known[0], named)
    usable = {file.image_id: file for file in names if texts[file.image_id]}
    if not official:
        splits = draw(usable, seed)
    written_rows = sum(len(captions[name]) for name in files if name in captions)
    return RawDataset(
        examples=[
            Example(image_id, file.location, texts[image_id], splits[image_id])
            for image_id, file in sorted(usable.items())
            if splits[image_id]
        ],
        absent=sorted((captions.keys() | official.keys()) - files.keys()),
        unlisted=sorted(image_id for image_id in usable if not splits[image_id]),
        uncaptioned=sorted(file.image_id for file in names if file.image_id not in usable),
        split_source="official" if official else "seeded",
        repeated=written_rows - sum(map(len, texts.values())),
    )


def describe(source: Source, raw: RawDataset) -> str:
    """Describes in one line what was found, such as "Flickr8k, 8,000 images, 40,000 captions"."""
    captions = sum(len(example.captions) for example in raw.examples)
    return describe_counts(source, len(raw.examples), captions, raw.repeated)


def describe_counts(source: Source, images: int, captions: int, repeated: int) -> str:
    """Describes in one line what was found.

    Args:
        source: the data set.
        images: usable ones.
        captions: of these.
        repeated: rows that were left out, since they repeat another one.
    """
    left_out = f" ({_count(repeated, 'repeated row')} left out)" if repeated else ""
    return (
        f"{READERS[source.dataset].TITLE}, {_count(images, 'image')}, "
        f"{_count(captions, 'caption')}{left_out}"
    )


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
