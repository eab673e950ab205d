"""Reader of Karpathy's JSON files (Karpathy & Fei-Fei 2015): Flickr8k, Flickr30k and COCO.

`dataset_flickr8k.json`, `dataset_flickr30k.json` and `dataset_coco.json` have the captions and the
splits that most papers report on. COCO's `restval` images are training images.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from imgcap.data.raw.example import Row, Source
from imgcap.data.raw.images import find_root
from imgcap.data.raw.layout import find_captions, has_folder, put_below, read_head, root_holding
from imgcap.data.raw.splits import parse_split
from imgcap.data.raw.values import (
    first_objects,
    read_captions,
    read_object,
    require_objects,
    require_text,
)
from imgcap.errors import DataError

TITLE = "Karpathy's JSON"
EXAMPLE = (
    'dataset_flickr8k.json: {"images": [{"filename": "1.jpg", "split": "train", "sentences": '
    '[{"raw": "A dog runs."}]}]}'
)


def find(folder: str) -> Source | None:
    """Looks for one of Karpathy's files in a folder or its `annotations/`.

    Args:
        folder: location of the data set's folder.

    Returns:
        The source; None if there is none.

    Raises:
        DataError: there are several whose images may be in the folder.
    """
    files = find_captions(folder, (".json",), lambda file: bool(_first_images(file)))
    roots = {file: _find_root(folder, file) for file in files}
    present = [file for file, root in roots.items() if root] or list(roots)
    if len(present) > 1:
        names = ", ".join(present)
        raise DataError(f"several files could be the captions ({names}): choose by --captions")
    if not present:
        return None
    root = roots[present[0]] or find_root(folder) or folder
    return Source("karpathy", (present[0],), (root,))


def _find_root(folder: str, location: str) -> str | None:
    """The folder below which a file's images lie, in folders of their own or all in one."""
    return root_holding(folder, _first_images(location)) or root_holding(
        folder, _first_images(location, in_folders=False)
    )


def _first_images(location: str, in_folders: bool = True) -> list[str]:
    """The first images of a file that begins as Karpathy's do; empty for other files."""
    names = []
    for entry in first_objects(read_head(location), "images"):
        if "sentences" in entry:
            with contextlib.suppress(DataError):  # Which `rows` will raise, and name the entry.
                names.append(_path(entry, location, lambda _: in_folders))
    return names


def rows(location: str, source: Source) -> Iterator[Row]:
    """Yields the images of the file, in its order, each with its captions and its split.

    Args:
        location: the source's captions file.
        source: the data set.

    Raises:
        DataError: the file is broken, or an image has no name or an unknown split.
    """
    images = require_objects(read_object(location), "images", location)
    is_there = functools.cache(functools.partial(has_folder, source.image_roots))
    for number, image in enumerate(images, start=1):
        yield _read_image(image, f"{location}: image {number}", is_there)


def _read_image(image: dict[str, Any], where: str, is_there: Callable[[str], bool]) -> Row:
    """The row of one image."""
    split = parse_split(require_text(image.get("split"), "split", where), where)
    captions: list[str] = []
    for sentence in require_objects(image, "sentences", where):
        if "raw" not in sentence:
            raise DataError(f"{where}: a sentence has no raw text: mend or drop it")
        captions += read_captions(sentence["raw"], "raw", where)
    return Row(_path(image, where, is_there), tuple(captions), split)


def _path(image: dict[str, Any], where: str, is_there: Callable[[str], bool]) -> str:
    """The path of an image.

    Args:
        image: its entry; `filepath` is the folder it is in, which only COCO's file has.
        where: file and number of the entry, for errors.
        is_there: whether the image folders have a folder; the photos may all be in one instead.
    """
    name, folder = require_text(image.get("filename"), "filename", where), image.get("filepath")
    folder = require_text(folder, "filepath", where).rstrip("/") if folder else ""
    return put_below(f"{folder}/", name) if folder and is_there(folder) else name
