"""Image files opened and decoded by Pillow, within the same limits as in the graph."""

import io
import struct

from PIL import Image

from imgcap.config import MAX_PIXELS
from imgcap.data.pictures import headers, kinds
from imgcap.data.pictures.pixels import to_rgb, turn_upright

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
"""Formats that the graph decodes, by Pillow's names."""


def open_picture(image_bytes: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Reads the header of an image; no pixel is decoded or allocated yet.

    Args:
        image_bytes: the whole file.
        max_pixels: pictures that declare more are refused: a few KB can declare gigabytes.

    Raises:
        ValueError: no picture that the graph decodes, or too many pixels.
    """
    if image_bytes[8:12] == kinds.WEBP_MAGIC:
        _check_size(*headers.webp_size(image_bytes), max_pixels)
        image_bytes = headers.webp_with_alpha(image_bytes)
    elif image_bytes.startswith(kinds.PNG_MAGIC):
        image_bytes = headers.plain_png(image_bytes)
    elif image_bytes.startswith(kinds.BMP_MAGIC) and not headers.is_supported_bmp(image_bytes):
        raise ValueError(kinds.UNSUPPORTED_BMP)
    try:
        image = Image.open(io.BytesIO(image_bytes), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"too many pixels ({error})") from None
    except Exception:  # Pillow's readers raise nearly anything on a mangled file
        raise ValueError(kinds.opening_error(image_bytes)) from None
    _check_size(*image.size, max_pixels)
    if image.format in ("JPEG", "MPO"):
        scans = headers.count_jpeg_scans(image_bytes)
        if image.width * image.height * scans > max_pixels * kinds.MAX_SCANS:
            raise ValueError(kinds.TOO_MANY_SCANS)
    return image


def load_rgb(
    image_bytes: bytes, max_side: int | None = None, *, in_part: bool = False
) -> Image.Image:
    """Decodes an image file as the graph does, and makes it smaller on request.

    Args:
        image_bytes: the whole file; of several pictures the first is taken.
        max_side: pixels of the longer side; None never shrinks.
        in_part: whether a JPEG may be cut off; its lower end comes out grey.

    Returns:
        An RGB image, upright, transparent pixels over white.

    Raises:
        ValueError: not an image, broken, or more than `MAX_PIXELS`.
    """
    image = open_picture(image_bytes)
    if image.format in ("JPEG", "MPO") and not headers.has_jpeg_end(image_bytes):
        return _load_open_jpeg(image_bytes, max_side, in_part)
    return decode_opened(image, image_bytes, max_side)


def decode_opened(
    image: Image.Image, image_bytes: bytes, max_side: int | None = None
) -> Image.Image:
    """Decodes an image whose header `open_picture` has read; see `load_rgb`."""
    try:
        if max_side is not None:
            # The decoder of a JPEG can skip work for a smaller picture; twice the size leaves the
            # resampling its detail.
            image.draft("RGB", (2 * max_side, 2 * max_side))
        rgb = _decode(image, image_bytes)
        if max_side is not None:
            rgb.thumbnail((max_side, max_side))
        return turn_upright(rgb, headers.read_orientation(image_bytes))
    except Exception as error:  # Pillow's decoders raise nearly anything on a mangled file
        raise ValueError(f"broken image ({error})") from None


def _decode(image: Image.Image, image_bytes: bytes) -> Image.Image:
    """Decodes the pixels of an opened file, RGB, as stored."""
    if image.format == "PNG":
        _prepare_png(image, image_bytes)
    elif image.format == "GIF":
        return _decode_gif(image)
    return to_rgb(image)


def _prepare_png(image: Image.Image, image_bytes: bytes) -> None:
    """Checks the chunks of a PNG, and puts its transparent colour into the range of the pixels."""
    if not all(chunk.sound for chunk in headers.png_chunks(image_bytes) if chunk.critical):
        raise ValueError(kinds.DAMAGED)
    depth, color_type = struct.unpack_from("BB", image_bytes, 24)
    key = image.info.get("transparency")
    if color_type == 0 and depth < 8 and isinstance(key, int):
        image.info["transparency"] = key * 255 // (2**depth - 1)
    elif color_type == 2 and depth == 16 and isinstance(key, tuple):
        image.info["transparency"] = tuple(value // 256 for value in key)


def _decode_gif(image: Image.Image) -> Image.Image:
    """Decodes the first frame of a GIF, white where the canvas is larger."""
    # Pillow's type says nothing of tiles, which an opened file has.
    box = image.tile[0][1]  # type: ignore[attr-defined]
    image.load()
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(to_rgb(image.crop(box)), box[:2])
    return canvas


def _load_open_jpeg(image_bytes: bytes, max_side: int | None, in_part: bool) -> Image.Image:
    """Decodes a JPEG without its end marker; the graph's decoder of such files says how."""
    body = image_bytes.removesuffix(b"\xff")
    if not in_part:
        added, trial = (load_rgb(body + rest + kinds.END_OF_IMAGE) for rest in (b"", kinds.TRIAL))
        if added != trial:
            raise ValueError(f"broken image ({kinds.DAMAGED})")
    return load_rgb(body + kinds.END_OF_IMAGE, max_side)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ValueError(f"{width} x {height} pixels are above the limit of {max_pixels:,}")
