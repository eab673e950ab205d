"""The headers of image files (format, size, orientation, alpha), read in the graph.

TensorFlow's decoders allocate whatever a header declares, and one of them writes more than it
allocates. So the size must be known, and some files repaired, before a decoder sees them. All
functions are total: any bytes, cut off or hostile, give an answer and never an error, because
beyond the end of a file zeros are read.

`data` is a whole file as a scalar string tensor; positions, sizes and numbers are int64 scalars.
The layouts are those of ITU T.81 and EXIF 2.32 (JPEG), RFC 2083 (PNG), GIF89a, BITMAPINFOHEADER and
BITMAPV4HEADER (BMP) and RFC 9649 (WebP).

Few ops are used: starting a data set takes 0.3 ms for each, whether it will run or not.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

PNG, GIF, BMP, WEBP, UNKNOWN = range(5)
"""Results of `image_format`."""

_MAGIC = [b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"RIFF\0\0\0\0WEBP", b""]

JPEG_MAGIC = b"\xff\xd8\xff"
ORIENTATION_TAG = 0x0112
SHORT = 3

# Bounds on the walks, far above what real files have: a file made of tiny parts can't buy time.
MAX_SEGMENTS = 64
MAX_EXIF_ENTRIES = 64
MAX_CHUNKS = 64
MAX_EXTENSIONS = 64
MAX_EXTENSION_STEPS = 256
MAX_PIXEL_STEPS = 16384

# A step over a GIF's data passes up to this many full blocks of 255 bytes: 16 steps a megabyte in
# place of 4,000.
BLOCKS_A_STEP = 256

# The header of a JPEG's scan takes at least this many bytes.
SCAN_BYTES = 10


class Size(NamedTuple):
    """Width and height that a header declares; below 1 if it makes no sense.

    Attributes:
        width: int64 [], pixels.
        height: int64 [], pixels.
    """

    width: tf.Tensor
    height: tf.Tensor


class BmpHeader(NamedTuple):
    """The header of a BMP.

    Attributes:
        size: of the picture.
        bits: int64 [], bits a pixel.
        supported: bool [], whether it has 8, 24 or 32 bits, is not compressed, and has its channels
            in the usual order.
        has_alpha: bool [], whether the fourth byte of a pixel is declared to be alpha; else it is
            padding.
        palette: uint8 [256, 3], RGB, for 8 bits a pixel.
        file_size: int64 [], where the pixels end. TensorFlow refuses a file that goes on.
    """

    size: Size
    bits: tf.Tensor
    supported: tf.Tensor
    has_alpha: tf.Tensor
    palette: tf.Tensor
    file_size: tf.Tensor


class GifFrame(NamedTuple):
    """The first frame of a GIF, cut out of its file.

    Attributes:
        canvas: size of the whole picture, of which the frame may be a part.
        left: int64 [], pixels of the canvas left of the frame.
        top: int64 [], pixels of the canvas above the frame.
        complete: bool [], whether there are colours for it and its data end inside the file.
        file: string [], a GIF of that frame, white where it is transparent, and of a second frame
            of one pixel.
    """

    canvas: Size
    left: tf.Tensor
    top: tf.Tensor
    complete: tf.Tensor
    file: tf.Tensor


def apart(function: Callable[..., Any]) -> tf.types.experimental.PolymorphicFunction:
    """Decorates a function so that it stays one op in the graphs that call it.

    A branch that is not taken still costs a little for each op in it: a small JPEG that decodes in
    315 µs takes 415 µs in all with the rare branches kept apart, and 520 µs without.
    """
    return tf.function(function, autograph=False, experimental_attributes={"_noinline": True})


def window(data: tf.Tensor, position: tf.Tensor | int, size: tf.Tensor | int) -> tf.Tensor:
    """Cuts bytes out of a file.

    Args:
        data: string [].
        position: of the first byte, not negative.
        size: how many bytes, not negative.

    Returns:
        string [], up to `size` bytes; fewer, or none, at the end of the file.
    """
    end = tf.strings.length(data)
    return tf.strings.substr(
        data, tf.minimum(tf.cast(position, tf.int64), tf.cast(end, tf.int64)), size
    )


def octets(data: tf.Tensor, position: tf.Tensor | int, count: int) -> tf.Tensor:
    """The `count` bytes from `position`, zeros beyond the end: uint8 [count]."""
    return tf.io.decode_raw(window(data, position, count), tf.uint8, fixed_length=count)


def integers(
    data: tf.Tensor,
    position: tf.Tensor | int,
    count: int,
    dtype: tf.DType = tf.uint8,
    big: bool = False,
) -> list[tf.Tensor]:
    """Reads integers of one type that follow each other.

    Args:
        data: string [].
        position: of the first byte.
        count: how many.
        dtype: of the integers in the file.
        big: whether they are big-endian.

    Returns:
        `count` times int64 []; zeros beyond the end.
    """
    size = count * dtype.size
    values = tf.io.decode_raw(window(data, position, size), dtype, not big, fixed_length=size)
    return tf.unstack(tf.cast(values, tf.int64))


def _weighted(parts: tf.Tensor, weights: tf.Tensor | list[int]) -> tf.Tensor:
    """Puts numbers together from their parts: [..., n] times the weights, summed, int64 [...].

    Worked example: the little-endian bytes [0x2C, 0x01] with weights [1, 256] are 44 + 256 = 300.
    """
    return tf.reduce_sum(tf.cast(parts, tf.int64) * weights, axis=-1)


def is_jpeg(data: tf.Tensor) -> tf.Tensor:
    """Whether a file begins as a JPEG does: bool []."""
    return tf.strings.substr(data, 0, len(JPEG_MAGIC)) == JPEG_MAGIC


def image_format(data: tf.Tensor) -> tf.Tensor:
    """The format by the first bytes, as TensorFlow itself tells it: int32 [].

    Returns:
        PNG, GIF, BMP, WEBP or UNKNOWN.
    """
    magic = np.array([list(text.ljust(12, b"\0")) for text in _MAGIC], np.uint8)
    fits = (octets(data, 0, 12) == magic) | (magic == 0)
    return tf.argmax(tf.cast(tf.reduce_all(fits, axis=1), tf.int32), output_type=tf.int32)


def jpeg_orientation(data: tf.Tensor) -> tf.Tensor:
    """The EXIF orientation of a JPEG, int64 []: 1 to 8; 1 (upright) if it has none."""
    # Most files on the web have one JFIF segment of 16 bytes and then the quantisation tables, so
    # no EXIF: to see that takes a fifth of the time that the walk takes.
    usual = tf.gather(octets(data, 0, 22), [2, 3, 4, 5, 20, 21]) == [0xFF, 0xE0, 0, 16, 0xFF, 0xDB]
    return tf.cond(
        tf.reduce_all(usual), lambda: tf.constant(1, tf.int64), lambda: _exif_orientation(data)
    )


def jpeg_scans(data: tf.Tensor) -> tf.Tensor:
    """Counts the markers of a JPEG that begin a scan: int64 []. Pixel data cannot contain one."""
    values = tf.io.decode_raw(data, tf.uint8)
    return tf.math.count_nonzero((values[:-1] == 0xFF) & (values[1:] == 0xDA))


@apart
def _exif_orientation(data: tf.Tensor) -> tf.Tensor:
    """Orientation in the first EXIF segment among a JPEG's application segments and comments."""

    def goes_on(position: tf.Tensor, marker: tf.Tensor, exif: tf.Tensor) -> tf.Tensor:
        return ((marker // 16 == 0xFFE) | (marker == 0xFFFE)) & (exif < 0)

    def next_segment(
        position: tf.Tensor, marker: tf.Tensor, exif: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        (length,) = integers(data, position + 2, 1, tf.uint16, big=True)
        found = (marker == 0xFFE1) & (window(data, position + 4, 6) == b"Exif\0\0")
        after = position + 2 + length
        return (
            after,
            *integers(data, after, 1, tf.uint16, big=True),
            tf.where(found, position, exif),
        )

    state = [
        tf.constant(2, tf.int64),
        *integers(data, 2, 1, tf.uint16, big=True),
        tf.constant(-1, tf.int64),
    ]
    end, _, exif = tf.while_loop(goes_on, next_segment, state, maximum_iterations=MAX_SEGMENTS)
    tiff = window(data, tf.maximum(exif, 0) + 10, tf.maximum(end - exif - 10, 0))
    return tf.where(exif < 0, tf.constant(1, tf.int64), _tiff_orientation(tiff))


def _tiff_orientation(tiff: tf.Tensor) -> tf.Tensor:
    """Orientation in the first directory of an EXIF block, a TIFF file in either byte order.

    Returns:
        int64 [], 1 to 8; 1 if it has none.
    """
    little, big = window(tiff, 0, 4) == b"II*\0", window(tiff, 0, 4) == b"MM\0*"
    weights = tf.where(little, tf.constant([1, 256], tf.int64), [256, 1])

    def words(position: tf.Tensor | int, count: int) -> tf.Tensor:
        return _weighted(tf.reshape(octets(tiff, position, 2 * count), [count, 2]), weights)

    # Of the 32-bit offset the low word is enough: an EXIF block is never longer than 64 KB.
    directory = tf.where(little, *tf.unstack(words(4, 2)))
    (count,) = tf.unstack(words(directory, 1))
    entries = tf.reshape(words(directory + 2, 6 * MAX_EXIF_ENTRIES), [MAX_EXIF_ENTRIES, 6])
    tag, kind, _, _, value, _ = tf.unstack(entries, axis=1)
    matches = (tag == ORIENTATION_TAG) & (kind == SHORT) & (value <= 8) & (little | big)
    matches &= tf.range(MAX_EXIF_ENTRIES, dtype=tf.int64) < count
    return tf.maximum(tf.reduce_max(tf.where(matches, value, 1)), 1)


def png_size(data: tf.Tensor) -> Size:
    """Size by a PNG's IHDR, which must be its first chunk."""
    width, height = integers(data, 16, 2, tf.int32, big=True)
    return Size(tf.where(window(data, 12, 4) == b"IHDR", width, 0), height)


def png_has_alpha(data: tf.Tensor) -> tf.Tensor:
    """Whether a PNG has an alpha channel, or transparent colours (a tRNS chunk): bool []."""

    def goes_on(position: tf.Tensor, name: tf.Tensor) -> tf.Tensor:
        return (name != b"tRNS") & (name != b"IDAT") & (name != b"")

    def next_chunk(position: tf.Tensor, name: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        (length,) = integers(data, position, 1, tf.int32, big=True)
        after = position + 12 + tf.maximum(length, 0)
        return after, window(data, after + 4, 4)

    start = [tf.constant(8, tf.int64), tf.constant(b"IHDR")]
    _, name = tf.while_loop(goes_on, next_chunk, start, maximum_iterations=MAX_CHUNKS)
    (color_type,) = integers(data, 25, 1)
    return (color_type // 4 == 1) | (name == b"tRNS")


def bmp_header(data: tf.Tensor) -> BmpHeader:
    """Reads the header of a BMP."""
    pixels_start, header_size, width, height, planes_and_bits, compression = integers(
        data, 10, 6, tf.int32
    )
    bits, height = planes_and_bits // 65536, tf.abs(height)
    known = (header_size >= 40) & ((bits == 8) | (bits == 24) | (bits == 32))
    masks = b"\0\0\xff\0\0\xff\0\0\xff\0\0\0"
    masked = (compression == 3) & (bits == 32) & (window(data, 54, 12) == masks)
    palette = tf.reshape(octets(data, 14 + tf.maximum(header_size, 0), 1024), [256, 4])
    return BmpHeader(
        size=Size(width, height),
        bits=bits,
        supported=known & (masked | (compression == 0)),
        has_alpha=masked & (header_size >= 56) & (window(data, 66, 4) == b"\0\0\0\xff"),
        palette=tf.gather(palette, [2, 1, 0], axis=1),
        file_size=tf.maximum(pixels_start + (width * bits // 8 + 3) // 4 * 4 * height, 0),
    )


def webp_size(data: tf.Tensor) -> Size:
    """Size of a WebP: of the canvas in an extended file, else of its one picture."""
    kind = window(data, 12, 4)
    canvas = _weighted(tf.reshape(octets(data, 24, 6), [2, 3]), [1, 1 << 8, 1 << 16]) + 1
    (bits,) = integers(data, 21, 1, tf.int32)
    lossless = tf.stack([bits, bits // (1 << 14)]) % (1 << 14) + 1
    lossy = tf.stack(integers(data, 26, 2, tf.uint16)) % (1 << 14)
    size = tf.where(kind == b"VP8 ", lossy, 0)
    size = tf.where(kind == b"VP8L", lossless, size)
    return Size(*tf.unstack(tf.where(kind == b"VP8X", canvas, size)))


def webp_with_room(data: tf.Tensor) -> tf.Tensor:
    """Sets the alpha flag of an animated WebP, and returns other files as they are.

    TensorFlow 2.21 writes four channels of an animated WebP but allocates those that the
    header declares, three without the alpha flag: that corrupts the heap and ends the process
    ("corrupted double-linked list"). The flag changes nothing else: pixels without alpha come out
    opaque.
    """
    (flags,) = integers(data, 20, 1)
    animated = (window(data, 12, 4) == b"VP8X") & (flags // 2 % 2 == 1)
    parts = [window(data, 0, 20), b"\x12", window(data, 21, 1 << 31)]
    return tf.where(animated, tf.strings.join(parts), data)


def gif_first_frame(data: tf.Tensor) -> GifFrame:
    """Cuts the first frame out of a GIF.

    TensorFlow decodes all frames before it returns the first, paints transparent pixels black,
    knows nothing of a frame's place on the canvas, and gives a broken frame as whatever the memory
    held. So the frame gets a file of its own, with white as its transparent colour and a second
    frame of one pixel: the decoder reaches that one only if the first was sound.
    """
    screen_width, screen_height = integers(data, 6, 2, tf.uint16)
    (screen_flags,) = integers(data, 10, 1)
    shared_colors = _colors_size(screen_flags)
    position, transparent = _first_image(data, 13 + shared_colors)
    left, top, width, height = integers(data, position + 1, 4, tf.uint16)
    (flags,) = integers(data, position + 9, 1)
    own_colors = _colors_size(flags)
    pixels_start = position + 10 + own_colors
    end = _skip_blocks(data, pixels_start + 1, MAX_PIXEL_STEPS)

    has_own = own_colors > 0
    colors = window(
        data, tf.where(has_own, position + 10, 13), tf.where(has_own, own_colors, shared_colors)
    )
    size, interlaced = window(data, position + 5, 4), tf.where(flags // 64 % 2 == 1, b"\x40", b"\0")
    head = [b"GIF89a", size, b"\xf7\0\0", _white_at(colors, transparent)]
    frame_data = window(data, pixels_start, tf.maximum(end - pixels_start, 0))
    first = [b",\0\0\0\0", size, interlaced, frame_data]
    second = [b",\0\0\0\0\1\0\1\0\0\2\2\x44\1\0;"]
    return GifFrame(
        canvas=Size(
            tf.maximum(screen_width, left + width), tf.maximum(screen_height, top + height)
        ),
        left=left,
        top=top,
        complete=(window(data, position, 1) == b",")
        & (width * height > 0)
        & (colors != b"")
        & (end > 0),
        file=tf.strings.join(head + first + second),
    )


def _colors_size(flags: tf.Tensor) -> tf.Tensor:
    """Bytes of the colour table that a GIF's flags announce; 0 if none.

    Worked example: flags 0b1000_0010 have the high bit, so there is a table, and the low three bits
    are 2, so it has 2^(1 + 2) = 8 colours in 6 << 2 = 24 bytes.
    """
    sizes = tf.constant([0] * 8 + [6 << bits for bits in range(8)], tf.int64)
    return tf.gather(sizes, flags // 128 * 8 + flags % 8)


def _white_at(colors: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Fills a GIF's colour table up to 256 colours, white at `index` unless that is negative."""
    colors = window(tf.strings.join([colors, b"\0" * 768]), 0, 768)
    start = 3 * tf.maximum(index, 0)
    white = tf.strings.join(
        [window(colors, 0, start), b"\xff\xff\xff", window(colors, start + 3, 768)]
    )
    return tf.where(index < 0, colors, white)


def _first_image(data: tf.Tensor, start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Walks over a GIF's extensions to its first image.

    Args:
        data: string [].
        start: int64 [], where the extensions begin.

    Returns:
        Where they end, and the number of the colour that they make transparent, -1 for none; int64
        [] each.
    """

    def is_extension(position: tf.Tensor, transparent: tf.Tensor) -> tf.Tensor:
        return window(data, position, 1) == b"!"

    def next_block(position: tf.Tensor, transparent: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        label, _, flags, _, _, index = integers(data, position + 1, 6)
        declared = tf.where(flags % 2 == 1, index, -1)
        after = _skip_blocks(data, position + 2, MAX_EXTENSION_STEPS)
        return after, tf.where(label == 0xF9, declared, transparent)

    none = tf.constant(-1, tf.int64)
    return tf.while_loop(is_extension, next_block, [start, none], maximum_iterations=MAX_EXTENSIONS)


def _skip_blocks(data: tf.Tensor, start: tf.Tensor, max_steps: int) -> tf.Tensor:
    """Walks over a GIF's data blocks, each a length and as many bytes, up to one of length 0.

    Worked example of a step: the bytes at 0, 256, 512 are the lengths 255, 255, 7 of blocks without
    a gap. The cumulative product of "is 255" is 1, 1, 0, its sum 2 is the number of full blocks
    ahead, and so lengths[2] = 7 is the first block that is not full.

    Args:
        data: string [].
        start: int64 [], of the first length.
        max_steps: after which the walk is given up.

    Returns:
        int64 [], the position after the block of length 0; 0 if there is none inside the file.
    """

    def goes_on(position: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
        return last > 0

    def skip(position: tf.Tensor, last: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        lengths = tf.cast(octets(data, position, 256 * BLOCKS_A_STEP + 1)[::256], tf.int64)
        full = tf.reduce_sum(tf.math.cumprod(tf.cast(lengths[:-1] == 255, tf.int64)))
        return position + 256 * full + 1 + lengths[full], lengths[full]

    one = tf.constant(1, tf.int64)
    position, last = tf.while_loop(goes_on, skip, [start, one], maximum_iterations=max_steps)
    inside = position <= tf.cast(tf.strings.length(data), tf.int64)
    return tf.where((last == 0) & inside, position, 0)
