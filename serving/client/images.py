"""Image files on their way to the server: found, read, checked, and made smaller on request."""

import glob
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image, ImageOps

from imgcap.config import MAX_PIXELS
from imgcap.files.names import find_path

ImageSource = bytes | str | os.PathLike | Image.Image
"""An encoded image file's bytes, its path, or an opened Pillow image."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")
"""The endings of the images in a folder; a file that is named outright may have any ending."""

_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")


def read_image(source: ImageSource) -> bytes:
    """Reads the encoded file of any image source.

    Bytes and files pass untouched, so that the server sees what the camera wrote. A Pillow image
    has no file any more: it becomes a PNG, which keeps every pixel (lightly compressed, since the
    server often is on the same network).

    Raises:
        OSError: the file can't be read.
    """
    if isinstance(source, bytes):
        return source
    if isinstance(source, Image.Image):
        # A PNG would lose the camera's note which way is up.
        upright = ImageOps.exif_transpose(source)
        return _encode(
            upright if upright.mode in _PNG_MODES else upright.convert("RGB"),
            "PNG",
            compress_level=1,
        )
    return Path(source).read_bytes()


def shrink(image_bytes: bytes, max_side: int) -> bytes:
    """Makes a picture upright and its longer side at most `max_side` pixels.

    Args:
        image_bytes: an encoded image; the first frame of an animation is taken.
        max_side: pixels of the longer side.

    Returns:
        A JPEG (quality 95), or the bytes as they came if there is nothing to shrink.

    Raises:
        ValueError: not an image, broken, or above `MAX_PIXELS`.
    """
    image = open_image(image_bytes)
    if max(image.size) <= max_side:
        return image_bytes
    # The decoder of a JPEG can skip work for a smaller picture; twice the size leaves the
    # resampling its detail.
    image.draft("RGB", (2 * max_side, 2 * max_side))
    try:
        image = ImageOps.exif_transpose(image)
        image.thumbnail((max_side, max_side))
    except Exception as error:  # Pillow's decoders raise nearly anything on a mangled file
        raise ValueError(f"broken image ({error})") from None
    return _encode(_on_white(image), "JPEG", quality=95)


def open_image(image_bytes: bytes) -> Image.Image:
    """Reads the header of an image; no pixel is decoded yet.

    Raises:
        ValueError: no known image format, or more than `MAX_PIXELS`: a few KB can declare
            gigabytes.
    """
    try:
        image = Image.open(io.BytesIO(image_bytes))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"too many pixels ({error})") from None
    except OSError:
        raise ValueError("not an image (JPEG, PNG, GIF, BMP or WebP)") from None
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(
            f"{image.width} x {image.height} pixels are above the limit of {MAX_PIXELS:,}"
        )
    return image


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


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    paper = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(paper, image.convert("RGBA")).convert("RGB")


def _encode(image: Image.Image, format: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()
