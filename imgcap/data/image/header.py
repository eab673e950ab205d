"""The headers of image files (format, size, alpha), read in the graph.

TensorFlow's decoders allocate whatever a header declares, and one of them writes more than it
allocates. So the size must be known, and some files repaired, before a decoder sees them. All
functions are total: any bytes, cut off or hostile, give an answer and never an error, because
beyond the end of a file zeros are read.

`data` is a whole file as a scalar string tensor; positions, sizes and numbers are int64 scalars.
The layouts are those of ITU T.81 and EXIF 2.32 (JPEG), RFC 2083 (PNG), GIF89a, BITMAPINFOHEADER and
BITMAPV4HEADER (BMP) and RFC 9649 (WebP).

Few ops are used: starting a data set takes 0.3 ms for each, whether it will run or not.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from imgcap.data.image.octets import integers, octets, weighted, window
from imgcap.data.pictures import kinds

PNG, GIF, BMP, WEBP, UNKNOWN = range(5)
"""Results of `image_format`."""

_MAGIC = [
    kinds.PNG_MAGIC,
    kinds.GIF_MAGIC,
    kinds.BMP_MAGIC,
    b"RIFF\0\0\0\0" + kinds.WEBP_MAGIC,
    b"",
]

# Bounds on the walks, far above what real files have: a file made of tiny parts can't buy time.
MAX_EXTENSIONS = 64
MAX_EXTENSION_STEPS = 256
MAX_PIXEL_STEPS = 16384

# A step over a GIF's data passes up to this many full blocks of 255 bytes: 16 steps a megabyte in
# place of 4,000.
BLOCKS_A_STEP = 256


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


def is_jpeg(data: tf.Tensor) -> tf.Tensor:
    """Whether a file begins as a JPEG does: bool []."""
    return tf.strings.substr(data, 0, len(kinds.JPEG_MAGIC)) == kinds.JPEG_MAGIC


def image_format(data: tf.Tensor) -> tf.Tensor:
    """The format by the first bytes, as TensorFlow itself tells it: int32 [].

    Returns:
        PNG, GIF, BMP, WEBP or UNKNOWN.
    """
    magic = np.array([list(text.ljust(12, b"\0")) for text in _MAGIC], np.uint8)
    fits = (octets(data, 0, 12) == magic) | (magic == 0)
    return tf.argmax(tf.cast(tf.reduce_all(fits, axis=1), tf.int32), output_type=tf.int32)


def foreign_error(data: tf.Tensor) -> tf.Tensor:
    """Why a file of no supported format is refused, by name if it is another kind of picture.

    Returns:
        string [], one sentence.
    """
    magic, texts = kinds.FOREIGN_MAGIC, [kinds.foreign_error(name) for name in kinds.FOREIGN_NAMES]
    table = np.array([list(text) for text in magic], np.uint8)
    fits = tf.reduce_all((octets(data, 0, table.shape[1]) == table) | (table == 0), axis=1)
    place = tf.argmax(tf.cast(fits, tf.int32))
    return tf.where(tf.reduce_any(fits), tf.gather(texts, place), kinds.NOT_AN_IMAGE)


def jpeg_ends(data: tf.Tensor) -> tf.Tensor:
    """Whether the end marker follows the last scan of a JPEG, however much stands after it.

    Returns:
        bool [].
    """

    def searched() -> tf.Tensor:
        values = tf.io.decode_raw(data, tf.uint8)
        marked, code = values[:-1] == 0xFF, values[1:]

        def last(marker: int) -> tf.Tensor:
            return tf.concat([[[-1]], tf.where(marked & (code == marker))], axis=0)[-1, 0]

        return last(0xD9) > last(0xDA)

    at_the_end = tf.strings.substr(data, -2, 2) == kinds.END_OF_IMAGE
    return tf.cond(at_the_end, lambda: tf.constant(True), searched)


def jpeg_scans(data: tf.Tensor) -> tf.Tensor:
    """Counts the markers of a JPEG that begin a scan: int64 []. Pixel data cannot contain one."""
    values = tf.io.decode_raw(data, tf.uint8)
    return tf.math.count_nonzero((values[:-1] == 0xFF) & (values[1:] == 0xDA))


def png_size(data: tf.Tensor) -> Size:
    """Size by a PNG's IHDR, which must be its first chunk."""
    width, height = integers(data, 16, 2, tf.int32, big=True)
    return Size(tf.where(window(data, 12, 4) == b"IHDR", width, 0), height)


def find_png_chunk(data: tf.Tensor, wanted: bytes) -> tuple[tf.Tensor, tf.Tensor]:
    """Walks over a PNG's chunks to the first of that name, if it stands before the pixels.

    Args:
        data: string [].
        wanted: the name, four letters.

    Returns:
        Name, string [], of the chunk where the walk ended, and int64 [], where that chunk begins.
    """

    def goes_on(position: tf.Tensor, name: tf.Tensor) -> tf.Tensor:
        return (name != wanted) & (name != b"IDAT") & (name != b"")

    def next_chunk(position: tf.Tensor, name: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        (length,) = integers(data, position, 1, tf.int32, big=True)
        after = position + 12 + tf.maximum(length, 0)
        return after, window(data, after + 4, 4)

    start = [tf.constant(8, tf.int64), tf.constant(b"IHDR")]
    position, name = tf.while_loop(goes_on, next_chunk, start, maximum_iterations=kinds.MAX_CHUNKS)
    return name, position


def png_has_alpha(data: tf.Tensor) -> tf.Tensor:
    """Whether a PNG has an alpha channel, or transparent colours (a tRNS chunk): bool []."""

    name, _ = find_png_chunk(data, b"tRNS")
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
    canvas = weighted(tf.reshape(octets(data, 24, 6), [2, 3]), [1, 1 << 8, 1 << 16]) + 1
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
    # What ends the pixels and the file may be missing: the decoder sees whether the pixels do.
    data = tf.strings.join([data, kinds.GIF_END])
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
