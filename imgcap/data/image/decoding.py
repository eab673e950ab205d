"""Image bytes to pixels, and augmentation: the only image code of the package.

The training pipeline and the served graph both come here, so that the same bytes give the same
pixels, bit for bit, on both roads. All of it is standard TensorFlow ops: it runs eagerly, in
`tf.data`, in a `tf.function` and in a SavedModel on a stock server.

Formats: JPEG (grey, RGB, CMYK, progressive; EXIF orientation honoured), PNG (all colour types and
depths), GIF and WebP (the first frame), BMP (8, 24 and 32 bits, not compressed). Transparency is
laid over white. A picture whose header declares too many pixels is refused before it is decoded.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from imgcap.config import MAX_MAX_PIXELS, MAX_PIXELS
from imgcap.data.image import header
from imgcap.errors import ConfigError

# A progressive JPEG goes over its pixels once a scan, and encoders write up to 20. A hostile file
# of 228 KB and 36 million pixels went over them 210 times, which took 11 s.
MAX_SCANS = 32

# Rows decoded at a time in one batch: more would wait for cores anyway, and each may hold
# MAX_PIXELS.
PARALLEL_ROWS = 8

# Folded into the seed of a crop.
CROP = 1

NOT_AN_IMAGE = "not an image: JPEG, PNG, GIF, BMP or WebP is required"
DAMAGED = "the image data is cut off or damaged: send the whole file"
TOO_MANY_SCANS = "a progressive JPEG of far too many scans: save it anew"
UNSUPPORTED_BMP = "a compressed BMP, or one of other than 8, 24 or 32 bits: save it as PNG or JPEG"


class DecodedImages(NamedTuple):
    """A batch of images of which each stands for itself."""

    images: tf.Tensor
    """float32 [B, H, W, 3]: RGB, 0 to 255; zeros in a row with an error."""
    error: tf.Tensor
    """string [B]: empty, or one sentence that says what is wrong and the remedy."""


@tf.autograph.experimental.do_not_convert
def decode(image_bytes: tf.Tensor, image_size: int, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """Decodes one image and squashes it to a square.

    Args:
        image_bytes: string []: the whole file.
        image_size: H and W of the result, pixels.
        max_pixels: Pictures that declare more are refused, undecoded.

    Returns:
        float32 [H, W, 3]: RGB, 0 to 255.

    Raises:
        tf.errors.InvalidArgumentError: The bytes are no image, or a damaged, too large or
            unsupported one.
    """
    image, error = _image_or_error(image_bytes, image_size, max_pixels)
    with tf.control_dependencies([_assert(error == "", error)]):
        return tf.identity(image)


@tf.autograph.experimental.do_not_convert
def decode_rows(
    image_bytes: tf.Tensor, image_size: int, max_pixels: int = MAX_PIXELS
) -> DecodedImages:
    """Decodes a batch, each row by itself: a bad one gets an error and changes nothing in the
    others.

    A decoder's failure ends a graph, and TensorFlow has one place alone that outlives it: a data
    set that leaves out the elements that failed. So the rows go through a data set, numbered, and
    are put back by their numbers. That costs 0.8 ms a call.

    Args:
        image_bytes: string [B]: a whole file a row. B may be 0.
        image_size: H and W of the result, pixels.
        max_pixels: Pictures that declare more are refused, undecoded.

    Returns:
        The images, equal to what `decode` gives, and the errors.
    """
    image_bytes = tf.convert_to_tensor(image_bytes)
    count = tf.size(image_bytes, tf.int64)

    def numbered(row: tf.Tensor, data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return row, *_image_or_error(data, image_size, max_pixels)

    # The op that takes the batch out of the data set refuses an empty one: so there is always a
    # last row.
    last = (count, tf.zeros([image_size, image_size, 3]), tf.constant(""))
    rows = tf.data.Dataset.from_tensor_slices((tf.range(count), image_bytes))
    rows = rows.map(numbered, num_parallel_calls=PARALLEL_ROWS, deterministic=True).ignore_errors()
    rows = rows.concatenate(tf.data.Dataset.from_tensors(last)).batch(count + 1)
    row, images, error = rows.with_options(_plain_options()).get_single_element()

    index, shape = row[:, tf.newaxis], tf.stack([count + 1, image_size, image_size, 3])
    complete = tf.size(row, tf.int64) == count + 1
    # Putting rows back copies all of them, 0.6 MB each: only where one is missing.
    images = tf.cond(complete, lambda: images, lambda: tf.scatter_nd(index, images, shape))
    error = tf.tensor_scatter_nd_update(tf.fill([count + 1], DAMAGED), index, error)
    images = tf.ensure_shape(images[:count], [*image_bytes.shape, image_size, image_size, 3])
    return DecodedImages(images, tf.ensure_shape(error[:count], image_bytes.shape))


def random_flip(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Mirrors left and right in half of all cases; the same seed always decides the same.

    Args:
        image: [H, W, 3], any dtype.
        seed: int32 [2].

    Returns:
        [H, W, 3].
    """
    return tf.image.stateless_random_flip_left_right(image, seed)


def random_crop(image: tf.Tensor, seed: tf.Tensor, least: float) -> tf.Tensor:
    """Cuts a part out and scales it back to the whole (Szegedy et al. 2015, section 6, with a
    gentler least share).

    Args:
        image: float32 [H, W, 3], its size known.
        seed: int32 [2].
        least: share of the area that at least stays, in (0, 1]; width / height of the part is 3/4
            to 4/3.

    Returns:
        float32 [H, W, 3].
    """
    # A stream of its own: drawn from the numbers that decide a mirror image, tall crops would be
    # the mirrored ones.
    seed = tf.random.experimental.stateless_fold_in(seed, CROP)
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.shape(image),
        tf.zeros([1, 0, 4]),
        seed,
        area_range=(least, 1.0),
        aspect_ratio_range=(3 / 4, 4 / 3),
        use_image_if_no_bounding_boxes=True,
    )
    return tf.ensure_shape(
        tf.image.resize(tf.slice(image, begin, extent), image.shape[:2]), image.shape
    )


class Inspection(NamedTuple):
    """What decoding a file has shown."""

    error: str
    """Empty, or one sentence that says what is wrong and the remedy."""
    height: int
    """Pixels, as stored in the file; 1 where there is an error."""
    width: int
    """Pixels, as stored in the file; 1 where there is an error."""


def check(image_bytes: bytes, max_pixels: int = MAX_PIXELS) -> str:
    """Says what is wrong with an image file; see `inspect`.

    Args:
        image_bytes: The whole file.
        max_pixels: Pictures that declare more are refused, undecoded.

    Returns:
        The empty string, or one sentence that says what is wrong and the remedy.
    """
    return inspect(image_bytes, max_pixels).error


def inspect(image_bytes: bytes, max_pixels: int = MAX_PIXELS) -> Inspection:
    """Decodes an image file on the very road that training and serving take, to see whether they
    will be able to.

    Whatever can fail is done, and nothing else. So a JPEG is decoded to an eighth of its size: all
    of its data are read, which alone can fail, but few pixels are computed. At 224 x 224 that takes
    less than half of the time.

    Args:
        image_bytes: The whole file.
        max_pixels: Pictures that declare more are refused, undecoded.

    Returns:
        What is wrong, and the size.
    """
    try:
        return _inspected_jpeg(image_bytes, max_pixels) or _inspected(image_bytes, max_pixels)
    except tf.errors.OpError:
        return Inspection(DAMAGED, 1, 1)


def _inspected_jpeg(image_bytes: bytes, max_pixels: int) -> Inspection | None:
    """A JPEG that may be decoded as it is, without a graph, whose call alone takes 0.1 ms; None for
    other files.
    """
    data = tf.constant(image_bytes)
    if not image_bytes.startswith(header.JPEG_MAGIC):
        return None
    height, width, _ = tf.image.extract_jpeg_shape(data).numpy().tolist()
    if not _is_harmless(header.Size(width, height), len(image_bytes), max_pixels):
        return None
    tf.io.decode_jpeg(data, channels=3, ratio=8)
    return Inspection("", height, width)


def _inspected(image_bytes: bytes, max_pixels: int) -> Inspection:
    error, shape = _inspector(max_pixels)(tf.constant(image_bytes))
    height, width, _ = shape.numpy().tolist()
    return Inspection(error.numpy().decode(), height, width)


@functools.cache
def _inspector(max_pixels: int) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """A graph that gives the error and the shape of one file; fails where a decoder does."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
    def look(image_bytes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        picture = _picture_or_error(image_bytes, max_pixels)
        # Else nobody would ask for the pixels, and they would not be decoded.
        with tf.control_dependencies([picture.pixels]):
            return tf.identity(picture.error), tf.shape(picture.pixels)

    return look.get_concrete_function()


def _plain_options() -> tf.data.Options:
    """A data set that lives for one batch is not worth being optimised, which each call would do
    anew.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    options.experimental_optimization.inject_prefetch = False
    return options


class _Picture(NamedTuple):
    """What one format's road gives."""

    pixels: tf.Tensor
    """uint8 [h, w, 3]: RGB; one black pixel where there is an error."""
    orientation: tf.Tensor
    """int64 []: 1 to 8, as EXIF counts."""
    error: tf.Tensor
    """string []: empty where all is well."""


def _image_or_error(
    data: tf.Tensor, image_size: int, max_pixels: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """float32 [H, W, 3] and a string []: the picture, or black and the reason; fails where a
    decoder does.
    """
    picture = _picture_or_error(data, max_pixels)
    image = _upright_square(picture.pixels, picture.orientation, image_size)
    return tf.ensure_shape(image, [image_size, image_size, 3]), picture.error


def _picture_or_error(data: tf.Tensor, max_pixels: int) -> _Picture:
    if not 1 <= max_pixels <= MAX_MAX_PIXELS:
        raise ConfigError(f"max_pixels={max_pixels} is out of range: choose 1 to {MAX_MAX_PIXELS}")
    # Photos are JPEG files: they do not wait for the tests of the other formats.
    is_jpeg = header.is_jpeg(data)
    return tf.cond(is_jpeg, lambda: _jpeg(data, max_pixels), lambda: _no_jpeg(data, max_pixels))


def _jpeg(data: tf.Tensor, max_pixels: int) -> _Picture:
    height, width, _ = tf.unstack(tf.image.extract_jpeg_shape(data, tf.int64))
    size = header.Size(width, height)
    harmless = _is_harmless(size, tf.cast(tf.strings.length(data), tf.int64), max_pixels)
    return tf.cond(
        harmless, lambda: _decoded_jpeg(data), lambda: _large_jpeg(data, size, max_pixels)
    )


def _is_harmless(size: header.Size, length: tf.Tensor | int, max_pixels: int) -> tf.Tensor | bool:
    """Whether a JPEG of so many bytes is small enough to be decoded without a search for its
    scans.
    """
    # What has no room for so many scans is not searched for them.
    pixels, limit = size.width * size.height, max_pixels * MAX_SCANS
    return (pixels * (length // header.SCAN_BYTES) <= limit) & (pixels * MAX_SCANS <= limit)


@header.apart
def _large_jpeg(data: tf.Tensor, size: header.Size, max_pixels: int) -> _Picture:
    endless = size.width * size.height * header.jpeg_scans(data) > max_pixels * MAX_SCANS
    too_large = _refusal(size, max_pixels)
    error = tf.where(endless & (too_large == ""), TOO_MANY_SCANS, too_large)
    return tf.cond(error == "", lambda: _decoded_jpeg(data), lambda: _no_picture(error))


def _decoded_jpeg(data: tf.Tensor) -> _Picture:
    # The accurate DCT is libjpeg's own default, and Pillow's: the pixels are equal to the last bit.
    # TensorFlow's default, the fast one, is off by up to 4 levels and saves nothing: 0.50 ms
    # against 0.46 at 224 x 224.
    pixels = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")
    return _Picture(pixels, header.jpeg_orientation(data), tf.constant(""))


@header.apart
def _no_jpeg(data: tf.Tensor, max_pixels: int) -> _Picture:
    roads = {header.PNG: _png, header.GIF: _gif, header.BMP: _bmp, header.WEBP: _webp}
    branches = {number: functools.partial(road, data, max_pixels) for number, road in roads.items()}
    branches[header.UNKNOWN] = lambda: _no_picture(tf.constant(NOT_AN_IMAGE))
    return tf.switch_case(header.image_format(data), branches)


def _png(data: tf.Tensor, max_pixels: int) -> _Picture:
    # An alpha channel is asked for only where there is one: for opaque pictures of 1, 2 or 4 bits
    # TensorFlow makes up a wrong one, 1 of 255 for 1 bit, so that the picture would vanish into the
    # white.
    def pixels() -> tf.Tensor:
        return tf.cond(
            header.png_has_alpha(data),
            lambda: _over_white(tf.io.decode_png(data, channels=4)),
            lambda: tf.io.decode_png(data, channels=3),
        )

    return _picture(_refusal(header.png_size(data), max_pixels), pixels)


def _gif(data: tf.Tensor, max_pixels: int) -> _Picture:
    frame = header.gif_first_frame(data)

    def pixels() -> tf.Tensor:
        frames = tf.io.decode_gif(frame.file)
        # A broken frame stops the decoder before the second, and leaves what the memory held in the
        # first.
        with tf.control_dependencies([_assert(tf.shape(frames)[0] == 2, tf.constant(DAMAGED))]):
            first = tf.identity(frames[0])
        height, width, _ = tf.unstack(tf.shape(first, tf.int64))
        below, right = (
            frame.canvas.height - frame.top - height,
            frame.canvas.width - frame.left - width,
        )
        return tf.pad(first, [[frame.top, below], [frame.left, right], [0, 0]], constant_values=255)

    error = tf.where(frame.complete, _refusal(frame.canvas, max_pixels), DAMAGED)
    return _picture(error, pixels)


def _bmp(data: tf.Tensor, max_pixels: int) -> _Picture:
    bmp = header.bmp_header(data)

    def pixels() -> tf.Tensor:
        stored = tf.io.decode_bmp(header.window(data, 0, bmp.file_size))
        return tf.case(
            [
                (bmp.bits == 8, lambda: tf.gather(bmp.palette, tf.cast(stored[..., 0], tf.int32))),
                (bmp.has_alpha, lambda: _over_white(stored)),
            ],
            default=lambda: stored[..., :3],
        )

    error = tf.where(bmp.supported, _refusal(bmp.size, max_pixels), UNSUPPORTED_BMP)
    return _picture(error, pixels)


def _webp(data: tf.Tensor, max_pixels: int) -> _Picture:
    def pixels() -> tf.Tensor:
        stored = tf.io.decode_image(header.webp_with_room(data), expand_animations=False)
        opaque = tf.shape(stored)[-1] == 3
        return tf.cond(
            opaque, lambda: tf.ensure_shape(stored, [None, None, 3]), lambda: _over_white(stored)
        )

    return _picture(_refusal(header.webp_size(data), max_pixels), pixels)


def _refusal(size: header.Size, max_pixels: int) -> tf.Tensor:
    """string []: why a picture of that declared size is not decoded; empty where it is."""
    width, height = size
    template = f"declares {{}}x{{}} pixels, above the limit of {max_pixels}: send a smaller picture"
    too_large = tf.strings.format(template, [width, height])
    error = tf.where(width * height > max_pixels, too_large, "")
    return tf.where(tf.minimum(width, height) < 1, DAMAGED, error)


def _picture(error: tf.Tensor, pixels: Callable[[], tf.Tensor]) -> _Picture:
    """What `pixels` decodes, where there is no error yet."""

    def decoded() -> _Picture:
        return _Picture(pixels(), tf.constant(1, tf.int64), tf.constant(""))

    return tf.cond(error == "", decoded, lambda: _no_picture(error))


def _assert(condition: tf.Tensor, error: tf.Tensor) -> tf.Operation | None:
    # The op alone: `tf.debugging.Assert` wraps it in a `tf.cond`.
    return tf.raw_ops.Assert(condition=condition, data=[error])


def _no_picture(error: tf.Tensor) -> _Picture:
    return _Picture(tf.zeros([1, 1, 3], tf.uint8), tf.constant(1, tf.int64), error)


def _over_white(pixels: tf.Tensor) -> tf.Tensor:
    """RGBA over white, rounded: uint8 [h, w, 4] to [h, w, 3]. Where alpha is 255 the colour stays
    what it is.

    In 16 bits, which hold 255 x 255 + 127: in 32, each step on 50 million pixels would take 600 MB.
    """
    wide = tf.cast(pixels, tf.uint16)
    color, alpha = wide[..., :3], wide[..., 3:]
    return tf.cast((color * alpha + (255 - alpha) * 255 + 127) // 255, tf.uint8)


def _upright_square(pixels: tf.Tensor, orientation: tf.Tensor, image_size: int) -> tf.Tensor:
    """uint8 [h, w, 3] to float32 [H, W, 3]: squashed to a square, and set upright as its
    orientation says.

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
    """Turns and mirrors a square image, float32 [H, W, 3], by its EXIF orientation."""
    order = tf.where(orientation >= 5, tf.constant([1, 0, 2]), [0, 1, 2])
    upside_down, mirrored = (orientation - 1) // 2 % 2 == 1, orientation // 2 % 2 == 1
    return tf.reverse(tf.transpose(image, order), tf.where(tf.stack([upside_down, mirrored]))[:, 0])
