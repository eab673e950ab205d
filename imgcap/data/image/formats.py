"""Encoded image files to pixels, one function a format; unsuitable files give an error text.

Formats: JPEG (grey, RGB, CMYK, progressive), PNG (all colour types and depths), GIF and WebP (the
first frame), BMP (8, 24 and 32 bits, not compressed). EXIF orientation is honoured, colour profiles
are ignored, transparency is laid over white. A picture whose header declares too many pixels is
refused before it is decoded. `imgcap.data.pictures` does the same without TensorFlow.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from imgcap.config import MAX_MAX_PIXELS
from imgcap.data.image import header, orientation
from imgcap.data.image.octets import apart, window
from imgcap.data.pictures import kinds
from imgcap.errors import ConfigError


class Picture(NamedTuple):
    """A decoded file, as stored: neither scaled nor turned yet.

    Attributes:
        pixels: uint8 [h, w, 3], RGB; one black pixel if there is an error.
        orientation: int64 [], 1 to 8, as EXIF counts.
        missing: float32 [], share of the rows, at the lower end, whose data the file lacks: grey.
        error: string [], empty if all is well, else one sentence with the remedy.
    """

    pixels: tf.Tensor
    orientation: tf.Tensor
    missing: tf.Tensor
    error: tf.Tensor


def decode_picture(image_bytes: tf.Tensor, max_pixels: int, max_missing: float = 0.0) -> Picture:
    """Decodes a file of any supported format.

    Args:
        image_bytes: string [], the whole file.
        max_pixels: pictures that declare more are refused, undecoded.
        max_missing: share of a JPEG's rows that may be missing at its end, in [0, 1).

    Returns:
        The picture, or the error. On damaged data a decoder may also fail, as an op.

    Raises:
        ConfigError: `max_pixels` is out of range.
    """
    if not 1 <= max_pixels <= MAX_MAX_PIXELS:
        raise ConfigError(f"max_pixels={max_pixels} is out of range: choose 1 to {MAX_MAX_PIXELS}")
    # Photos are JPEG files: they do not wait for the tests of the other formats.
    return tf.cond(
        header.is_jpeg(image_bytes),
        lambda: _decode_jpeg(image_bytes, max_pixels, max_missing),
        lambda: _decode_other(image_bytes, max_pixels),
    )


def _decode_jpeg(data: tf.Tensor, max_pixels: int, max_missing: float) -> Picture:
    """Decodes a JPEG; one of usual size that ends as it should needs no search in its data."""
    height, width, _ = tf.unstack(tf.image.extract_jpeg_shape(data, tf.int64))
    size = header.Size(width, height)
    harmless = is_harmless(size, tf.cast(tf.strings.length(data), tf.int64), max_pixels)
    return tf.cond(
        harmless & (tf.strings.substr(data, -2, 2) == kinds.END_OF_IMAGE),
        lambda: _whole_jpeg(data),
        lambda: _decode_unusual_jpeg(data, size, max_pixels, max_missing),
    )


def is_harmless(size: header.Size, length: tf.Tensor | int, max_pixels: int) -> tf.Tensor | bool:
    """Whether a JPEG is small enough to be decoded without a search for its scans.

    Worked example, limit 50 million pixels x 32 scans: 0.5 megapixels in 100 KB have room for at
    most 10,000 scans, 5 billion pixels to go over, so they are searched; in 30 KB they are not.

    Args:
        size: that the JPEG declares.
        length: of the file, bytes; int64 [] or a number.
        max_pixels: as for `decode_picture`.

    Returns:
        bool [], or a bool of numbers.
    """
    # A file too short for so many scans is not searched for them.
    num_pixels, limit = size.width * size.height, max_pixels * kinds.MAX_SCANS
    few_scans = num_pixels * (length // kinds.SCAN_BYTES) <= limit
    return few_scans & (num_pixels * kinds.MAX_SCANS <= limit)


@apart
def _decode_unusual_jpeg(
    data: tf.Tensor, size: header.Size, max_pixels: int, max_missing: float
) -> Picture:
    """Decodes a JPEG after its size, the number of its scans and its end were looked at."""
    endless = size.width * size.height * header.jpeg_scans(data) > max_pixels * kinds.MAX_SCANS
    too_large = _refusal(size, max_pixels)
    error = tf.where(endless & (too_large == ""), kinds.TOO_MANY_SCANS, too_large)

    def decoded() -> Picture:
        return tf.cond(
            header.jpeg_ends(data), lambda: _whole_jpeg(data), lambda: _cut_jpeg(data, max_missing)
        )

    return tf.cond(error == "", decoded, lambda: _no_picture(error))


def _jpeg_pixels(data: tf.Tensor) -> tf.Tensor:
    """Decodes the pixels of a JPEG, uint8 [h, w, 3], as stored."""
    # The accurate DCT is libjpeg's own default, and Pillow's: the pixels are equal to the last bit.
    # TensorFlow's default, the fast one, is off by up to 4 levels and saves nothing: 0.50 ms
    # against 0.46 at 224 x 224.
    return tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")


def _whole_jpeg(data: tf.Tensor) -> Picture:
    """Decodes a JPEG that has its end marker, without any check."""
    pixels = _jpeg_pixels(data)
    return Picture(pixels, orientation.jpeg_orientation(data), tf.constant(0.0), tf.constant(""))


def _cut_jpeg(data: tf.Tensor, max_missing: float) -> Picture:
    """Decodes a JPEG without its end marker.

    How many rows are missing is not to be read from the file, and the decoder, which makes them
    grey, does not tell. So two files are decoded: one with the marker added, one with other data
    and the marker. If nothing is missing, the decoder passes over the other data. If something is,
    the pictures differ from the first missing block on.
    """
    # Half a marker, or half of a byte that is stored as two, says nothing.
    half = tf.cast(tf.strings.substr(data, -1, 1) == b"\xff", tf.int32)
    body = tf.strings.substr(data, 0, tf.strings.length(data) - half)
    pixels = _jpeg_pixels(tf.strings.join([body, kinds.END_OF_IMAGE]))
    trial = _jpeg_pixels(tf.strings.join([body, kinds.TRIAL, kinds.END_OF_IMAGE]))
    same = tf.reduce_all(pixels == trial, axis=[1, 2])  # -> [h]
    present = tf.reduce_sum(tf.math.cumprod(tf.cast(same, tf.float32)))
    missing = 1.0 - present / tf.cast(tf.size(same), tf.float32)
    found = Picture(pixels, orientation.jpeg_orientation(data), missing, tf.constant(""))
    too_few = tf.constant(kinds.DAMAGED)
    return tf.cond(missing <= max_missing, lambda: found, lambda: _no_picture(too_few))


@apart
def _decode_other(data: tf.Tensor, max_pixels: int) -> Picture:
    """Decodes a file that is no JPEG, by the format that its first bytes tell."""
    decoders = {
        header.PNG: _decode_png,
        header.GIF: _decode_gif,
        header.BMP: _decode_bmp,
        header.WEBP: _decode_webp,
    }
    branches: dict[int, Callable[[], Picture]] = {
        number: functools.partial(decoder, data, max_pixels) for number, decoder in decoders.items()
    }
    branches[header.UNKNOWN] = lambda: _no_picture(header.foreign_error(data))
    return tf.switch_case(header.image_format(data), branches)


def _decode_png(data: tf.Tensor, max_pixels: int) -> Picture:
    """Decodes a PNG of any colour type and depth."""

    # An alpha channel is asked for only if there is one: for opaque pictures of 1, 2 or 4 bits
    # TensorFlow makes up a wrong one, 1 of 255 for 1 bit, so that the picture would vanish into the
    # white.
    def decode_pixels() -> tf.Tensor:
        closed = tf.strings.join([data, kinds.PNG_END])
        return tf.cond(
            header.png_has_alpha(data),
            lambda: _over_white(tf.io.decode_png(closed, channels=4)),
            lambda: tf.io.decode_png(closed, channels=3),
        )

    error = _refusal(header.png_size(data), max_pixels)
    return _picture(error, decode_pixels, lambda: orientation.png_orientation(data))


def _decode_gif(data: tf.Tensor, max_pixels: int) -> Picture:
    """Decodes the first frame of a GIF and pads it with white to its canvas."""
    frame = header.gif_first_frame(data)

    def decode_pixels() -> tf.Tensor:
        frames = tf.io.decode_gif(frame.file)
        # A broken frame stops the decoder before the second, and leaves what the memory held in the
        # first.
        with tf.control_dependencies(
            [assert_or_fail(tf.shape(frames)[0] == 2, tf.constant(kinds.DAMAGED))]
        ):
            first = tf.identity(frames[0])
        height, width, _ = tf.unstack(tf.shape(first, tf.int64))
        below, right = (
            frame.canvas.height - frame.top - height,
            frame.canvas.width - frame.left - width,
        )
        return tf.pad(first, [[frame.top, below], [frame.left, right], [0, 0]], constant_values=255)

    error = tf.where(frame.complete, _refusal(frame.canvas, max_pixels), kinds.DAMAGED)
    return _picture(error, decode_pixels)


def _decode_bmp(data: tf.Tensor, max_pixels: int) -> Picture:
    """Decodes a BMP of 8, 24 or 32 bits that is not compressed."""
    bmp = header.bmp_header(data)

    def decode_pixels() -> tf.Tensor:
        stored = tf.io.decode_bmp(window(data, 0, bmp.file_size))
        return tf.case(
            [
                (bmp.bits == 8, lambda: tf.gather(bmp.palette, tf.cast(stored[..., 0], tf.int32))),
                (bmp.has_alpha, lambda: _over_white(stored)),
            ],
            default=lambda: stored[..., :3],
        )

    error = tf.where(bmp.supported, _refusal(bmp.size, max_pixels), kinds.UNSUPPORTED_BMP)
    return _picture(error, decode_pixels)


def _decode_webp(data: tf.Tensor, max_pixels: int) -> Picture:
    """Decodes a WebP, or the first frame of an animated one."""

    def decode_pixels() -> tf.Tensor:
        stored = tf.io.decode_image(header.webp_with_room(data), expand_animations=False)
        opaque = tf.shape(stored)[-1] == 3
        return tf.cond(
            opaque, lambda: tf.ensure_shape(stored, [None, None, 3]), lambda: _over_white(stored)
        )

    error = _refusal(header.webp_size(data), max_pixels)
    return _picture(error, decode_pixels, lambda: orientation.webp_orientation(data))


def _refusal(size: header.Size, max_pixels: int) -> tf.Tensor:
    """Why a picture of that declared size is not decoded, string []; empty if it is."""
    width, height = size
    template = f"declares {{}}x{{}} pixels, above the limit of {max_pixels}: send a smaller picture"
    too_large = tf.strings.format(template, [width, height])
    error = tf.where(width * height > max_pixels, too_large, "")
    return tf.where(tf.minimum(width, height) < 1, kinds.DAMAGED, error)


def _picture(
    error: tf.Tensor,
    decode_pixels: Callable[[], tf.Tensor],
    read_orientation: Callable[[], tf.Tensor] = lambda: tf.constant(1, tf.int64),
) -> Picture:
    """Calls `decode_pixels` and `read_orientation` unless there is an error already."""

    def decoded() -> Picture:
        return Picture(decode_pixels(), read_orientation(), tf.constant(0.0), tf.constant(""))

    return tf.cond(error == "", decoded, lambda: _no_picture(error))


def assert_or_fail(condition: tf.Tensor, error: tf.Tensor) -> tf.Operation | None:
    """Fails with a text, as an op, unless a condition holds.

    Args:
        condition: bool [].
        error: string [].

    Returns:
        The op, in a graph.
    """
    # The op alone: `tf.debugging.Assert` wraps it in a `tf.cond`.
    return tf.raw_ops.Assert(condition=condition, data=[error])


def _no_picture(error: tf.Tensor) -> Picture:
    """One black pixel with an error."""
    pixels = tf.zeros([1, 1, 3], tf.uint8)
    return Picture(pixels, tf.constant(1, tf.int64), tf.constant(0.0), error)


def _over_white(rgba: tf.Tensor) -> tf.Tensor:
    """Lays RGBA over white, rounded: uint8 [h, w, 4] to [h, w, 3].

    Worked example: red 100 at alpha 51 (a fifth) becomes (100 * 51 + 204 * 255 + 127) // 255 = 224;
    at alpha 255 a colour stays what it is. Computed in 16 bits, which hold 255 x 255 + 127: in 32,
    each step on 50 million pixels would take 600 MB.
    """
    wide = tf.cast(rgba, tf.uint16)
    color, alpha = wide[..., :3], wide[..., 3:]
    return tf.cast((color * alpha + (255 - alpha) * 255 + 127) // 255, tf.uint8)
