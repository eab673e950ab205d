"""Image files on their way to the server: found and read."""

import glob
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image, ImageFile

from imgcap.data.pictures import to_rgb, turn_upright
from imgcap.data.pictures.kinds import ORIENTATION_TAG
from imgcap.files.names import find_path

ImageSource = bytes | str | os.PathLike | Image.Image
"""An encoded image file's bytes, its path, or an opened Pillow image."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")
"""The endings of the images in a folder; a file that is named outright may have any ending."""

_OPENED = ("JPEG", "MPO", "PNG", "GIF", "BMP")  # a WebP is decoded as it is opened


def read_image(source: ImageSource) -> bytes:
    """Reads the encoded file of any image source.

    Bytes and files pass untouched, so that the server sees what the camera wrote; so does the file
    of a Pillow image that was opened and not decoded yet. Another Pillow image has no file any
    more: it becomes an upright PNG in RGB, transparent pixels over white (lightly compressed, since
    the server often is on the same network).

    Raises:
        OSError: the file can't be read.
        ValueError: a Pillow image in LAB.
    """
    if isinstance(source, bytes):
        return source
    if not isinstance(source, Image.Image):
        return Path(source).read_bytes()
    stored = _stored_file(source)
    if stored is not None:
        return stored
    source.load()
    buffer = io.BytesIO()
    upright = turn_upright(to_rgb(source), source.getexif().get(ORIENTATION_TAG, 1))
    upright.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def find_images(arguments: Iterable[str]) -> Iterator[str]:
    """Finds the files that paths, folders and globs stand for.

    A folder gives the images under it, at any depth, those behind symbolic links included. A name
    that matches nothing is yielded as it is, so that opening it can say that it does not exist;
    what is there is never taken for a pattern.

    Args:
        arguments: paths, folders and globs, as typed, or paths as `write_name` writes them.

    Yields:
        Paths, one at a time; those of each argument in sorted order.
    """
    for argument in map(find_path, arguments):
        if os.path.isdir(argument):
            yield from _images_under(argument, ())
        elif os.path.lexists(argument) or not glob.has_magic(argument):
            yield argument
        else:
            yield from sorted(glob.glob(_literal_start(argument), recursive=True)) or [argument]


def _literal_start(pattern: str) -> str:
    """A glob whose leading folders that are there stand for themselves: `run[1]/*.jpg`."""
    parts = pattern.split(os.sep)
    there = 0
    while there < len(parts) - 1 and os.path.isdir(os.sep.join([*parts[: there + 1], ""])):
        there += 1
    return os.sep.join([*map(glob.escape, parts[:there]), *parts[there:]])


def _images_under(folder: str, above: tuple[tuple[int, int], ...]) -> Iterator[str]:
    """The images in a folder and below it.

    Args:
        folder: one that cannot be read is yielded itself, so that opening it can say so.
        above: identities of the folders that led here, by which a circle of links is left.
    """
    try:
        status = os.stat(folder)
        if (here := (status.st_dev, status.st_ino)) in above:
            return
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        yield folder
        return
    # `DirEntry.is_dir` fails on a link that leads to itself.
    folders = {
        entry.path: None
        for entry in entries
        if entry.is_dir(follow_symlinks=False) or _leads_in(entry)
    }
    yield from (
        entry.path
        for entry in entries
        if entry.name.lower().endswith(SUFFIXES) and entry.path not in folders
    )
    for path in folders:
        yield from _images_under(path, (*above, here))


def _leads_in(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a symbolic link to a folder."""
    return entry.is_symlink() and os.path.isdir(entry.path)


def _stored_file(image: Image.Image) -> bytes | None:
    """The file behind a picture that was opened and that nobody has decoded or changed yet."""
    if not isinstance(image, ImageFile.ImageFile) or image.format not in _OPENED:
        return None
    if image.fp is None or image.fp.closed or not image.tile or image.tell() != 0:
        return None
    position = image.fp.tell()
    image.fp.seek(0)
    image_bytes = image.fp.read()
    image.fp.seek(position)
    anew = Image.open(io.BytesIO(image_bytes))
    same = (anew.mode, anew.size, anew.info) == (image.mode, image.size, image.info)
    return image_bytes if same else None
