"""The image files of a raw data set, and the file that a name in a captions file means.

Names are written in many ways: below the image folder, below a folder above it, by the file's name
alone, absolute. Rows and files meet by their last name (`key`), so that a machine which sees all of
one key can decide alone; a file outside of the given folders is never meant.
"""

import functools
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from imgcap.errors import DataError
from imgcap.files.locations import is_folder, is_remote, join, walk
from imgcap.files.names import is_text, write_name
from imgcap.files.text import as_written

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
"""Endings by which photos are told from other files when a layout is looked for."""

FOLDERS = (
    "Images",
    "Flicker8k_Dataset",
    "Flickr8k_Dataset",
    "flickr30k_images",
    "flickr30k-images",
    "images",
    "photos",
    "Photos",
)
"""Names of folders that hold photos, in the order in which they are looked for."""

MOST_LOOKED_AT = 10_000
"""Files that are looked at for a first photo before a folder counts as one without."""


class ImageFile(NamedTuple):
    """A file in an image folder.

    Attributes:
        image_id: its name in records, unique in the data set.
        path: where it is below its image folder, as its file system has it.
        location: where it is.
    """

    image_id: str
    path: str
    location: str


def find_root(folder: str) -> str | None:
    """Finds the folder of the photos of a data set, which may be its own folder.

    Args:
        folder: location of the data set's folder.

    Returns:
        Its location; None if there are no photos.
    """
    for name in FOLDERS:
        if is_folder(join(folder, name)):
            return join(folder, name)
    return folder if has_photos(folder) else None


def has_photos(folder: str) -> bool:
    """Whether one of the first files of a folder, at any depth, is a photo by its name."""
    first = itertools.islice(walk(folder), MOST_LOOKED_AT)
    return any(location.lower().endswith(ENDINGS) for location in first)


def list_files(roots: Sequence[str]) -> Iterator[ImageFile]:
    """Yields the files below the image folders, each once, even if one folder lies in another."""
    for number, (root, prefix) in enumerate(zip(roots, _prefixes(roots), strict=True)):
        earlier = tuple(f"{other}/" for other in roots[:number])
        for location in walk(root):
            if not (earlier and location.startswith(earlier)):
                path = location[len(root) :].lstrip("/")
                yield ImageFile(write_name(prefix + path), path, location)


def _prefixes(roots: Sequence[str]) -> list[str]:
    """The path of each image folder below the deepest folder that holds them all, with a '/'."""
    parts = [(root if is_remote(root) else os.path.abspath(root)).split("/") for root in roots]
    shared = len(os.path.commonprefix(parts))
    return ["/".join([*part[shared:], ""]) for part in parts]


def keys(file: ImageFile) -> tuple[str, ...]:
    """The last names by which rows may know a file: one, and a second if it is no plain text."""
    forms = _forms(file.path)
    return tuple({key(path): None for path in forms}) if len(forms) > 1 else (key(forms[0]),)


def key(name: str) -> str:
    """The last name of an image as rows have it, by which it meets its file."""
    return name[name.rfind("/") + 1 :]


def clean_name(image: str, roots: Sequence[str]) -> str:
    """Brings the name of an image into the one form that `match` takes.

    Args:
        image: as written in a captions file or a list.
        roots: locations of the image folders.

    Returns:
        A path without '.' and '..'; an absolute one begins with one of `roots`, as that is given.

    Raises:
        DataError: it leads out of the image folders.
    """
    name = image if image.isascii() else as_written(image)
    if "/" not in name and name != "..":
        return name
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise _outside(name, roots)
    if not name.startswith("/") and not is_remote(name):
        return "/".join(parts)
    for root in roots:
        for base in _bases(root, os.getcwd()):
            if name.startswith(base):
                below = [part for part in name[len(base) :].split("/") if part not in ("", ".")]
                return join(root, *below)
    raise _outside(name, roots)


@functools.lru_cache(64)
def _bases(root: str, working_folder: str) -> tuple[str, ...]:
    """How absolute names below an image folder begin: as it is given, and without links."""
    del working_folder  # A relative folder is another one elsewhere.
    if is_remote(root):
        return (root.rstrip("/") + "/",)
    return tuple(path.rstrip("/") + "/" for path in (os.path.abspath(root), os.path.realpath(root)))


def _outside(name: str, roots: Sequence[str]) -> DataError:
    return DataError(
        f"{name} is outside of the image folders ({', '.join(roots)}): write paths below them, or "
        "give its folder in --images"
    )


def match(names: Iterable[str], files: Sequence[ImageFile]) -> dict[str, ImageFile]:
    """Finds the files that names mean, among those of one key.

    A name is first a path below an image folder; else the end of one file's location (folders are
    left out in the name); else a path whose end is one file's path below its image folder (folders
    are left out on the disk), if no better name has that file.

    Args:
        names: from `clean_name`, of one `key`.
        files: all files that have that key.

    Returns:
        Name to file; names without a file are left out.

    Raises:
        DataError: a name means several files.
    """
    below = _group((path, file) for file in files for path in _forms(file.path))
    found: dict[str, ImageFile] = {}
    left = []
    for name in names:
        if name in below:
            found[name] = _only(name, below[name])
        else:
            left.append(name)
    if not left:
        return found
    ends = _group(
        (end, file) for file in files for path in _forms(file.location) for end in _ends(path)
    )
    found.update({name: _only(name, ends[name]) for name in left if name in ends})
    taken = set(found.values())
    for name in left:
        end = next((end for end in _ends(name) if end in below), None)
        if name not in found and end is not None:
            file = _only(name, below[end])
            if file not in taken:
                found[name] = file
    return found


def _group(pairs: Iterable[tuple[str, ImageFile]]) -> dict[str, list[ImageFile]]:
    """Path to the files that have it, each once."""
    groups: dict[str, list[ImageFile]] = {}
    for path, file in pairs:
        group = groups.setdefault(path, [])
        if file not in group[-1:]:
            group.append(file)
    return groups


def _only(name: str, files: Sequence[ImageFile]) -> ImageFile:
    """The only file of a group; DataError if there are more."""
    if len(files) > 1:
        raise DataError(
            f"{name} may be {files[0].location} or {files[1].location}: write its path below the "
            "image folder, or give --images fewer folders"
        )
    return files[0]


def _forms(path: str) -> tuple[str, ...]:
    """A path as rows may have it: as it is, if it is text, and as `write_name` writes it."""
    written = write_name(path)
    return (path, written) if written != path and is_text(path) else (written,)


def _ends(path: str) -> Iterator[str]:
    """The path and what is left of it without its first folder, its first two, and so on."""
    yield path
    while "/" in path:
        path = path.partition("/")[2]
        yield path


class LinkGuard:
    """Refuses files of this machine that symbolic links lead out of the image folders."""

    def __init__(self, roots: Sequence[str]) -> None:
        """Follows the links that lead to the image folders themselves, which are no error.

        Args:
            roots: locations of the image folders.
        """
        self._roots = tuple(roots)
        local = [root for root in roots if not is_remote(root)]
        self._real_roots = tuple(os.path.realpath(root).rstrip("/") + "/" for root in local)
        self._inside: dict[str, bool] = {}

    def check(self, file: ImageFile) -> None:
        """Raises DataError if the file lies outside in truth."""
        folder = file.location.rpartition("/")[0]
        if folder not in self._inside:
            self._inside[folder] = is_remote(folder) or self._is_inside(folder)
        if self._inside[folder] and not os.path.islink(file.location):
            return
        if not self._is_inside(file.location):
            raise DataError(
                f"{file.location} is a link to {os.path.realpath(file.location)}, outside of the "
                f"image folders ({', '.join(self._roots)}): copy the photo, or add its folder to "
                "--images"
            )

    def _is_inside(self, location: str) -> bool:
        """Whether a path is below one of the image folders, or one of them, without links."""
        return (os.path.realpath(location) + "/").startswith(self._real_roots)


class ImageIndex:
    """All files below the image folders, in memory."""

    def __init__(self, roots: Sequence[str]) -> None:
        """Lists the files.

        Args:
            roots: locations of the image folders.

        Raises:
            OSError: a folder cannot be listed.
        """
        self._guard = LinkGuard(roots)
        self._files: dict[str, list[ImageFile]] = {}
        for file in list_files(roots):
            for last_name in keys(file):
                self._files.setdefault(last_name, []).append(file)

    def find(self, names: Iterable[str]) -> dict[str, ImageFile]:
        """Finds the files that names mean, as `match` does.

        Args:
            names: from `clean_name`.

        Returns:
            Name to file; names without a file are left out.

        Raises:
            DataError: a name means several files, or a link that leads out of the image folders.
        """
        names = list(names)
        found: dict[str, ImageFile] = {}
        unclear = set()
        for name in names:
            last_name = key(name)
            files = self._files.get(last_name, ())
            if len(files) == 1 and files[0].path == name:
                found[name] = files[0]
            elif files:
                unclear.add(last_name)
        groups: dict[str, list[str]] = {}
        for name in names if unclear else ():
            if key(name) in unclear:
                groups.setdefault(key(name), []).append(name)
        for last_name, group in groups.items():
            found.update(match(group, self._files[last_name]))
        for file in found.values():
            self._guard.check(file)
        return found
