"""Which way up a picture was taken, by the EXIF block of its file, read in the graph.

EXIF 2.32 in JPEG, in a PNG's eXIf chunk (if it stands before the pixels, where decoders meet it in
time) and in a WebP's EXIF chunk. `imgcap.data.pictures.orientation` reads the same without
TensorFlow. All functions are total, as those of `octets`.
"""

import tensorflow as tf

from imgcap.data.image.header import find_png_chunk
from imgcap.data.image.octets import apart, integers, octets, weighted, window
from imgcap.data.pictures import kinds


def jpeg_orientation(data: tf.Tensor) -> tf.Tensor:
    """The EXIF orientation of a JPEG, int64 []: 1 to 8; 1 (upright) if it has none."""
    # Most files on the web have one JFIF segment of 16 bytes and then the quantisation tables, so
    # no EXIF: to see that takes a fifth of the time that the walk takes.
    usual = tf.gather(octets(data, 0, 22), [2, 3, 4, 5, 20, 21]) == [0xFF, 0xE0, 0, 16, 0xFF, 0xDB]
    return tf.cond(
        tf.reduce_all(usual), lambda: tf.constant(1, tf.int64), lambda: _exif_orientation(data)
    )


@apart
def png_orientation(data: tf.Tensor) -> tf.Tensor:
    """The orientation in a PNG's eXIf chunk before the pixels, int64 []: 1 to 8; 1 if none."""
    name, position = find_png_chunk(data, b"eXIf")
    (length,) = integers(data, position, 1, tf.int32, big=True)
    tiff = window(data, position + 8, tf.maximum(length, 0))
    return tf.where(name == b"eXIf", _tiff_orientation(tiff), 1)


@apart
def webp_orientation(data: tf.Tensor) -> tf.Tensor:
    """The orientation in a WebP's EXIF chunk, int64 []: 1 to 8; 1 if it has none."""

    def goes_on(position: tf.Tensor, name: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        return (name != b"EXIF") & (name != b"")

    def chunk(position: tf.Tensor) -> list[tf.Tensor]:
        (size,) = integers(data, position + 4, 1, tf.int32)
        return [position, window(data, position, 4), tf.maximum(size, 0)]

    def next_chunk(position: tf.Tensor, name: tf.Tensor, size: tf.Tensor) -> list[tf.Tensor]:
        return chunk(position + 8 + size + size % 2)

    start = chunk(tf.constant(12, tf.int64))
    position, name, size = tf.while_loop(
        goes_on, next_chunk, start, maximum_iterations=kinds.MAX_CHUNKS
    )
    # Some programs write the block as it stands in a JPEG, with that name before it.
    prefix = tf.where(window(data, position + 8, 6) == b"Exif\0\0", tf.constant(6, tf.int64), 0)
    tiff = window(data, position + 8 + prefix, tf.maximum(size - prefix, 0))
    return tf.where(name == b"EXIF", _tiff_orientation(tiff), 1)


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
    end, _, exif = tf.while_loop(
        goes_on, next_segment, state, maximum_iterations=kinds.MAX_SEGMENTS
    )
    tiff = window(data, tf.maximum(exif, 0) + 10, tf.maximum(end - exif - 10, 0))
    return tf.where(exif < 0, tf.constant(1, tf.int64), _tiff_orientation(tiff))


@apart
def _tiff_orientation(tiff: tf.Tensor) -> tf.Tensor:
    """Orientation in the first directory of an EXIF block, a TIFF file in either byte order.

    Returns:
        int64 [], 1 to 8; 1 if it has none.
    """
    little, big = window(tiff, 0, 4) == b"II*\0", window(tiff, 0, 4) == b"MM\0*"
    weights = tf.where(little, tf.constant([1, 256], tf.int64), [256, 1])

    def words(position: tf.Tensor | int, count: int) -> tf.Tensor:
        return weighted(tf.reshape(octets(tiff, position, 2 * count), [count, 2]), weights)

    directory = tf.reduce_sum(
        words(4, 2) * tf.where(little, tf.constant([1, 1 << 16], tf.int64), [1 << 16, 1])
    )
    (count,) = tf.unstack(words(directory, 1))
    entries = tf.reshape(
        words(directory + 2, 6 * kinds.MAX_EXIF_ENTRIES), [kinds.MAX_EXIF_ENTRIES, 6]
    )
    tag, type_, _, _, value, _ = tf.unstack(entries, axis=1)
    matches = (
        (tag == kinds.ORIENTATION_TAG) & (type_ == kinds.SHORT) & (value <= 8) & (little | big)
    )
    matches &= tf.range(kinds.MAX_EXIF_ENTRIES, dtype=tf.int64) < count
    return tf.maximum(tf.reduce_max(tf.where(matches, value, 1)), 1)
