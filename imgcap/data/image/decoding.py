"""Image bytes to square images, the input of the encoder.

The training pipeline and the served graph both call it, so that the same bytes give the same
pixels in both, bit for bit. All of it is standard TensorFlow ops: it runs eagerly, in `tf.data`, in
a `tf.function` and in a SavedModel on a stock server.
"""

from typing import NamedTuple

import tensorflow as tf

from imgcap.config import MAX_PIXELS
from imgcap.data.image.formats import assert_or_fail, decode_picture
from imgcap.data.pictures import kinds

# Rows decoded at a time in one batch: more would wait for cores anyway, and each may hold
# MAX_PIXELS.
PARALLEL_ROWS = 8


class DecodedImages(NamedTuple):
    """A batch of images, decoded independently of each other.

    Attributes:
        images: float32 [B, H, W, 3], RGB, 0 to 255; zeros in a row with an error.
        error: string [B], empty, or one sentence that says what is wrong and the remedy.
    """

    images: tf.Tensor
    error: tf.Tensor


class PartlyDecodedImages(NamedTuple):
    """A batch of images of which some may be cut off.

    Attributes:
        images: float32 [B, H, W, 3], RGB, 0 to 255; grey where data are missing, zeros in a row
            with an error.
        error: string [B], empty, or one sentence that says what is wrong and the remedy.
        missing: float32 [B], share of the rows, at the lower end, whose data the file lacks.
    """

    images: tf.Tensor
    error: tf.Tensor
    missing: tf.Tensor


@tf.autograph.experimental.do_not_convert
def decode(image_bytes: tf.Tensor, image_size: int, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """Decodes one image and squashes it to a square.

    Args:
        image_bytes: string [], the whole file.
        image_size: H and W of the result, pixels.
        max_pixels: pictures that declare more are refused, undecoded.

    Returns:
        float32 [H, W, 3], RGB, 0 to 255.

    Raises:
        tf.errors.InvalidArgumentError: the bytes are no image, or a damaged, too large or
            unsupported one.
    """
    image, error, _ = _image_or_error(image_bytes, image_size, max_pixels)
    with tf.control_dependencies([assert_or_fail(error == "", error)]):
        return tf.identity(image)


@tf.autograph.experimental.do_not_convert
def decode_rows(
    image_bytes: tf.Tensor, image_size: int, max_pixels: int = MAX_PIXELS
) -> DecodedImages:
    """Decodes a batch; a bad row gets an error and changes nothing in the others.

    Args:
        image_bytes: string [B], a whole file a row; B may be 0.
        image_size: H and W of the result, pixels.
        max_pixels: pictures that declare more are refused, undecoded.

    Returns:
        The images, equal to what `decode` gives, and the errors.
    """
    images, error, _ = decode_rows_in_part(image_bytes, image_size, max_pixels, 0.0)
    return DecodedImages(images, error)


@tf.autograph.experimental.do_not_convert
def decode_rows_in_part(
    image_bytes: tf.Tensor, image_size: int, max_pixels: int, max_missing: float
) -> PartlyDecodedImages:
    """Decodes a batch, cut-off JPEGs as far as they go.

    A decoder's failure ends a graph, and only one thing in TensorFlow goes on after it: a data set
    that leaves out the elements that failed. So the rows go through a data set, numbered, and are
    put back by their numbers. That costs 0.8 ms a call.

    Args:
        image_bytes: string [B], a whole file a row; B may be 0.
        image_size: H and W of the result, pixels.
        max_pixels: pictures that declare more are refused, undecoded.
        max_missing: share of a JPEG's rows that may be missing at its end, in [0, 1).

    Returns:
        The images, the errors, and how much is missing.
    """
    image_bytes = tf.convert_to_tensor(image_bytes)
    count = tf.size(image_bytes, tf.int64)

    def decode_row(row: tf.Tensor, data: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return row, *_image_or_error(data, image_size, max_pixels, max_missing)

    # The op that takes the batch out of the data set refuses an empty one: so there is always a
    # last row.
    last = (count, tf.zeros([image_size, image_size, 3]), tf.constant(""), tf.constant(0.0))
    rows = tf.data.Dataset.from_tensor_slices((tf.range(count), image_bytes))
    rows = rows.map(
        decode_row, num_parallel_calls=PARALLEL_ROWS, deterministic=True
    ).ignore_errors()
    rows = rows.concatenate(tf.data.Dataset.from_tensors(last)).batch(count + 1)
    row, images, error, missing = rows.with_options(_plain_options()).get_single_element()

    index, shape = row[:, tf.newaxis], tf.stack([count + 1, image_size, image_size, 3])
    complete = tf.size(row, tf.int64) == count + 1
    # Putting rows back copies all of them, 0.6 MB each: only if one is missing.
    images = tf.cond(complete, lambda: images, lambda: tf.scatter_nd(index, images, shape))
    error = tf.tensor_scatter_nd_update(tf.fill([count + 1], kinds.DAMAGED), index, error)
    missing = tf.scatter_nd(index, missing, [count + 1])
    images = tf.ensure_shape(images[:count], [*image_bytes.shape, image_size, image_size, 3])
    return PartlyDecodedImages(
        images,
        tf.ensure_shape(error[:count], image_bytes.shape),
        tf.ensure_shape(missing[:count], image_bytes.shape),
    )


def _plain_options() -> tf.data.Options:
    """Options of a data set for one batch: no optimisation, which each call would repeat."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    options.experimental_optimization.inject_prefetch = False
    return options


def _image_or_error(
    data: tf.Tensor, image_size: int, max_pixels: int, max_missing: float = 0.0
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Decodes one image to its square, or to black and a reason; fails as an op if a decoder does.

    Returns:
        float32 [H, W, 3], string [], and float32 [], share of the rows that are missing.
    """
    picture = decode_picture(data, max_pixels, max_missing)
    image = _upright_square(picture.pixels, picture.orientation, image_size)
    return tf.ensure_shape(image, [image_size, image_size, 3]), picture.error, picture.missing


def _upright_square(pixels: tf.Tensor, orientation: tf.Tensor, image_size: int) -> tf.Tensor:
    """Squashes a picture to a square and turns it upright: uint8 [h, w, 3] to float32 [H, W, 3].

    A side that shrinks is averaged over the area of each new pixel, one that grows is interpolated.
    Plain bilinear looks at 4 pixels however many one stands for. A grating of 2.6 pixels, which
    should come out flat, keeps a standard deviation of 58 levels in it, of 15 here (500 x 375 to
    224; 1.4 from 12 megapixels). The triangle filter (antialias=True) leaves 5, but blurs photos
    more (4.2 levels from Lanczos; 2.6 here; 3.8 plain bilinear) and takes 1.8 ms (0.6 here; 0.4
    plain bilinear). No op used here has a GPU kernel, which might round in another way.
    """

    def resized() -> tf.Tensor:
        size = tf.minimum(tf.shape(pixels)[:2], image_size)
        shrunk = tf.image.resize(pixels, size, "area")

        def grown() -> tf.Tensor:
            return tf.image.resize(shrunk, [image_size, image_size], antialias=True)

        image = tf.cond(tf.reduce_all(size == image_size), lambda: shrunk, grown)
        # Turned when it is small: a square may as well be turned after the squashing.
        return tf.cond(orientation == 1, lambda: image, lambda: _upright(image, orientation))

    # Averaging would leave such a picture as it is, in the time that decoding takes.
    is_ready = tf.reduce_all(tf.shape(pixels) == [image_size, image_size, 3]) & (orientation == 1)
    return tf.cond(is_ready, lambda: tf.cast(pixels, tf.float32), resized)


def _upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns and mirrors a square image, float32 [H, W, 3], by its EXIF orientation.

    From 5 on, rows and columns are swapped; then some axes are reversed:

    orientation     1  2  3  4  5  6  7  8
    upside down     -  -  x  x  -  -  x  x    (orientation - 1) // 2 % 2
    mirrored        -  x  x  -  -  x  x  -    orientation // 2 % 2

    Worked example: 6 (turn clockwise by 90 degrees) is a swap, then a mirror image: the rows ab, cd
    become ac, bd, then ca, db.
    """
    order = tf.where(orientation >= 5, tf.constant([1, 0, 2]), [0, 1, 2])
    upside_down, mirrored = (orientation - 1) // 2 % 2 == 1, orientation // 2 % 2 == 1
    return tf.reverse(tf.transpose(image, order), tf.where(tf.stack([upside_down, mirrored]))[:, 0])
