"""What readers look at to recognise a layout: names in folders, where images lie, names of splits.

All of it is cheap: names, and whether single files exist.
"""

import os
import re
from collections.abc import Sequence
from typing import Any

from imgcap.errors import DataError
from imgcap.files.locations import base_name, is_file, is_folder, is_remote, join, list_folder

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "restval": "train",
    "dev": "dev",
    "development": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "test": "test",
    "testing": "test",
}
"""What data sets call the three splits; `restval` is Karpathy's addition to COCO's training images."""

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff")
TEXT_FOLDERS = ("annotations", "captions", "metadata", "labels", "text", "data")


def split_named(name: str) -> str:
    """The split that a word names, such as `val` or `train2017`; empty if it names none."""
    return SPLIT_NAMES.get(re.sub(r"\d+$", "", name.strip().casefold()), "")


def split_of_file(location: str, captions_files: Sequence[str]) -> str:
    """The split of all images of a captions file, by its name or that of its folder.

    Args:
        location: one of the captions files.
        captions_files: all of them.

    Returns:
        The split; empty if the names do not tell all of them, or if they name no training images or
        nothing but those: then the name of a file is no division of the images.
    """
    splits = {file: _split_of_path(file) for file in captions_files}
    divided = all(splits.values()) and "train" in splits.values() and len(set(splits.values())) > 1
    return splits.get(location, "") if divided else ""


def _split_of_path(location: str) -> str:
    """The split that the last telling word of a file's name says, or else its folder's name."""
    stem = base_name(location).rpartition(".")[0].casefold()
    for word in reversed(re.split(r"[^a-z0-9]+", stem)):
        if split_named(word):
            return split_named(word)
    return split_named(base_name(parent(location)))


def choose_files(files: Sequence[str]) -> tuple[str, ...]:
    """Chooses among files that all could be the captions of a data set.

    Args:
        files: locations, at least one.

    Returns:
        All of them, if they are parts of one set (their names differ by numbers alone) or one file
        or several parts for each split.

    Raises:
        DataError: they are several sets.
    """
    kinds = {(parent(file), re.sub(r"\d+", "", base_name(file))): file for file in files}
    splits = [split_of_file(file, list(kinds.values())) for file in kinds.values()]
    if len(kinds) > 1 and (not all(splits) or len(set(splits)) < len(splits)):
        names = ", ".join(sorted(files)[:4])
        raise DataError(f"several files could be the captions ({names}): give --captions_file")
    return tuple(sorted(files))


def find_texts(folder: str, endings: tuple[str, ...], beside: str = "") -> list[str]:
    """Finds the files of some kind in a folder, or else in its subfolders that keep texts.

    Args:
        folder: of the data set.
        endings: of the files' names, lower case.
        beside: a name that is looked for in every subfolder, too: such files lie beside images.

    Returns:
        Locations in sorted order; none from subfolders if the folder itself has some.
    """
    names = list_folder(folder)
    here = [join(folder, name) for name in names if name.lower().endswith(endings)]
    if here:
        return sorted(here)
    found = []
    for name in (name.rstrip("/") for name in names if name.endswith("/")):
        inner = join(folder, name)
        if name.lower() in TEXT_FOLDERS or split_named(name):
            deeper = list_folder(inner)
            found += [join(inner, file) for file in deeper if file.lower().endswith(endings)]
        elif beside and is_file(join(inner, beside)):
            found.append(join(inner, beside))
    return sorted(found)


def find_root(folder: str, images: Sequence[str]) -> str:
    """Finds the folder below which the images lie.

    Args:
        folder: of the data set.
        images: some images, as the captions name them.

    Returns:
        The first of the folder, its subfolders and theirs that has most of them; the folder itself
        if none has any.
    """
    if any(is_absolute(image) for image in images):
        return folder
    best, most = folder, 0
    for candidate in _folders(folder):
        found = sum(is_file(join(candidate, image)) for image in images)
        if found > most:
            best, most = candidate, found
        if found == len(images):
            break
    return best


def _folders(folder: str) -> list[str]:
    """The folder, its subfolders, and theirs; of another file system the first two."""
    first = [join(folder, name.rstrip("/")) for name in list_folder(folder) if name.endswith("/")]
    second = [
        join(inner, name.rstrip("/"))
        for inner in first
        if not is_remote(inner)
        for name in list_folder(inner)
        if name.endswith("/")
    ]
    return [folder, *first, *second]


def folder_below(location: str, roots: Sequence[str]) -> str:
    """The folder of a file, as a path below one of the roots with a final '/'; empty if none."""
    folder = _absolute(parent(location))
    for root in map(_absolute, roots):
        if folder.startswith(root.rstrip("/") + "/"):
            return folder[len(root.rstrip("/")) + 1 :] + "/"
    return ""


def find_below(roots: Sequence[str], name: str) -> bool:
    """Whether one of the roots has a folder of that name."""
    return any(is_folder(join(root, name)) for root in roots)


def parent(location: str) -> str:
    """The folder of a file."""
    return location.rstrip("/").rpartition("/")[0] or ("/" if location.startswith("/") else ".")


def is_absolute(image: str) -> bool:
    """Whether an image is written as a whole path or address."""
    return is_remote(image) or os.path.isabs(image)


def names_image(text: str) -> bool:
    """Whether a text ends as the names of image files do."""
    return text.strip().lower().endswith(IMAGE_ENDINGS)


def _absolute(location: str) -> str:
    """A location of this machine without `.`, `..` and links of the working folder."""
    return location if is_remote(location) else os.path.abspath(location)


def require_text(value: Any, what: str, where: str) -> str:
    """Returns a text without the blanks around it.

    Args:
        value: what a file has.
        what: its name, for the error.
        where: file and place, for the error.

    Raises:
        DataError: it is no text, or an empty one.
    """
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: {what} is {str(value)[:40]!r}, not a text: mend or drop it")
    return value.strip()
