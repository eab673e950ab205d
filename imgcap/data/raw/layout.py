"""What readers look at to recognise a layout: names in folders, where images lie, names of splits.

All of it is cheap: names, and whether single files exist. No file is read as a whole but
by its reader.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence

from imgcap.data.raw.images import ENDINGS
from imgcap.data.raw.splits import find_split
from imgcap.errors import DataError
from imgcap.files.locations import base_name, is_file, is_folder, is_remote, join, list_folder
from imgcap.files.text import open_text

HEAD = 65536
"""Characters of a file by which it is recognised."""

TEXT_FOLDERS = ("annotations", "captions", "metadata", "labels", "text", "data")


def split_named(word: str) -> str:
    """The split that a word of a file's name tells, such as `val` or `train2017`; or empty."""
    return find_split(re.sub(r"\d+$", "", word))


def split_of_file(location: str, captions_files: Sequence[str]) -> str:
    """The split of all images of a captions file, by its name or that of its folder.

    Args:
        location: one of the captions files.
        captions_files: all of them.

    Returns:
        The split; empty if the names do not tell the split of every file, or tell no training
        images or nothing but those: names of files are no division of the images then.
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
    return split_named(base_name(folder_of(location)))


def choose_files(files: Sequence[str]) -> tuple[str, ...]:
    """Chooses among files that all could be the captions of a data set.

    Args:
        files: locations, at least one.

    Returns:
        All of them, sorted, if they are parts of one set: their names differ by numbers alone, or
        each split has a file or parts of one.

    Raises:
        DataError: they are several sets.
    """
    kinds = {(folder_of(file), re.sub(r"\d+", "", base_name(file))): file for file in files}
    splits = [split_of_file(file, list(kinds.values())) for file in kinds.values()]
    if len(kinds) > 1 and (not all(splits) or len(set(splits)) < len(splits)):
        names = ", ".join(sorted(files)[:4])
        raise DataError(f"several files could be the captions ({names}): choose by --captions")
    return tuple(sorted(files))


def find_captions(
    folder: str, endings: tuple[str, ...], is_known: Callable[[str], bool], beside: str = ""
) -> list[str]:
    """Finds the captions files of one kind in a folder, or else in its subfolders that keep texts.

    Args:
        folder: of the data set.
        endings: of the files' names, lower case.
        is_known: whether the file at a location is of the kind.
        beside: a name that is looked for in every subfolder, too: such files lie beside images.

    Returns:
        Locations in sorted order; none from subfolders if the folder itself has some.
    """
    names = list_folder(folder)
    here = [join(folder, name) for name in names if _has_ending(name, endings)]
    known = [location for location in here if is_known(location)]
    if known:
        return known
    found = []
    for name in (name.rstrip("/") for name in names if name.endswith("/")):
        inner = join(folder, name)
        if name.lower() in TEXT_FOLDERS or split_named(name):
            deeper = list_folder(inner)
            found += [join(inner, file) for file in deeper if _has_ending(file, endings)]
        elif beside and is_file(join(inner, beside)):
            found.append(join(inner, beside))
    return sorted(location for location in found if is_known(location))


def _has_ending(name: str, endings: tuple[str, ...]) -> bool:
    """Whether a name has one of the endings; hidden files, which some systems leave, have none."""
    return name.lower().endswith(endings) and not name.startswith(".")


def root_holding(folder: str, images: Sequence[str]) -> str | None:
    """Finds the folder below which the images lie.

    Args:
        folder: of the data set.
        images: some images, as the captions name them.

    Returns:
        The folder itself, one of its subfolders or one of theirs: the first that has most of the
        images, or the folder itself if no one has all that are found, or if names are absolute.
        None if none is found.
    """
    if any(is_absolute(image) for image in images):
        return folder
    best, most, everywhere = folder, 0, set()
    for candidate in _folders(folder):
        found = {image for image in images if is_file(join(candidate, image))}
        everywhere |= found
        if len(found) > most:
            best, most = candidate, len(found)
        if most == len(images):
            break
    if not everywhere:
        return None
    return best if len(everywhere) == most else folder


def _folders(folder: str) -> Iterator[str]:
    """Yields the folder, its subfolders, and theirs; of another file system the first two."""
    yield folder
    inner = [join(folder, name.rstrip("/")) for name in list_folder(folder) if name.endswith("/")]
    yield from inner
    for first in (location for location in inner if not is_remote(location)):
        yield from (
            join(first, name.rstrip("/")) for name in list_folder(first) if name.endswith("/")
        )


def folder_of(location: str) -> str:
    """The folder that a file lies in."""
    return location.rpartition("/")[0] or ("/" if location.startswith("/") else ".")


def folder_below(location: str, roots: Sequence[str]) -> str:
    """The folder of a file, as a path below one of the roots with a final '/'; empty if none."""
    folder = _absolute(folder_of(location))
    for root in (_absolute(root).rstrip("/") + "/" for root in roots):
        if folder.startswith(root):
            return folder[len(root) :] + "/"
    return ""


def _absolute(location: str) -> str:
    """A location that does not depend on the working folder."""
    return location if is_remote(location) else os.path.abspath(location)


def put_below(folder: str, image: str) -> str:
    """The path of an image that is written relative to a folder, such as `train2017/`."""
    path = with_slashes(image)
    return path if is_absolute(path) or path.startswith(folder) else folder + path


def with_slashes(image: str) -> str:
    r"""A path as Windows writes it, with '/'; a `\xe9` is a byte, as `write_name` writes it."""
    if "/" in image or re.search(r"\\x[0-9a-f]{2}", image):
        return image
    return image.replace("\\", "/")


def has_folder(roots: Sequence[str], name: str) -> bool:
    """Whether an image folder has a folder of that name, or is one."""
    return any(base_name(root) == name or is_folder(join(root, name)) for root in roots)


def is_absolute(image: str) -> bool:
    """Whether an image is written as a whole path or address."""
    return is_remote(image) or os.path.isabs(image)


def names_image(text: str) -> bool:
    """Whether a text ends as the names of image files do."""
    return text.strip().lower().endswith(ENDINGS)


def read_head(location: str) -> str:
    """Reads the beginning of a text file, `HEAD` characters at most.

    Raises:
        DataError: it begins as UTF-16 does, and is none.
    """
    try:
        with open_text(location) as file:
            return file.read(HEAD)
    except UnicodeError:
        raise DataError(f"{location} is no text in UTF-8 or UTF-16: convert it") from None
