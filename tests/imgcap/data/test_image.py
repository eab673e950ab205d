"""Image bytes to pixels, against Pillow; what must not happen with files that are no picture, or a
trap.
"""

import functools
import io
import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from imgcap.config import MAX_PIXELS
from imgcap.data import image
from imgcap.errors import ConfigError

SIZE = 32
WHITE = (255, 255, 255)


def scene(height: int = SIZE, width: int = SIZE, channels: int = 3) -> np.ndarray:
    """A smooth picture, uint8 [h, w, c], different in each channel, that no flip or turn leaves as
    it is.
    """
    y, x = np.mgrid[:height, :width]
    waves = [128 + 70 * np.sin(x / 5 + c) + 50 * np.cos(y / (4 + c)) for c in range(channels)]
    return np.stack(waves, axis=-1).astype(np.uint8)


def picture(mode: str = "RGB", height: int = SIZE, width: int = SIZE) -> Image.Image:
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}[mode]
    pixels = scene(height, width, channels)
    return Image.fromarray(pixels[..., 0] if mode == "L" else pixels, mode)


def encoded(source: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    source.save(buffer, format, **options)
    return buffer.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def over_white(source: Image.Image) -> Image.Image:
    source = source.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", source.size, (*WHITE, 255)), source).convert(
        "RGB"
    )


@functools.cache
def decoder(size: int, max_pixels: int = MAX_PIXELS) -> Callable[[bytes], tf.Tensor]:
    decode = functools.partial(image.decode, image_size=size, max_pixels=max_pixels)
    return tf.function(decode, input_signature=[tf.TensorSpec([], tf.string)])


@functools.cache
def row_decoder(
    size: int, max_pixels: int = MAX_PIXELS
) -> Callable[[tf.Tensor], image.DecodedImages]:
    decode = functools.partial(image.decode_rows, image_size=size, max_pixels=max_pixels)
    return tf.function(decode, input_signature=[tf.TensorSpec([None], tf.string)])


def decoded(data: bytes, size: int = SIZE) -> np.ndarray:
    return decoder(size)(data).numpy()


def decoded_rows(
    rows: list[bytes], size: int = SIZE, max_pixels: int = MAX_PIXELS
) -> tuple[np.ndarray, list[str]]:
    images, error = row_decoder(size, max_pixels)(tf.constant(rows, tf.string))
    return images.numpy(), [text.decode() for text in error.numpy()]


def resized(source: Image.Image, size: int = SIZE) -> np.ndarray:
    """Averages over the area of a new pixel where a side shrinks, else interpolates; rounds
    nowhere.
    """
    pixels = np.asarray(source.convert("RGB"), np.float64)
    for axis, old in enumerate(pixels.shape[:2]):
        new = min(old, size)
        edges = np.arange(new + 1)[:, np.newaxis] * old / new
        covered = np.clip(
            edges - np.arange(old), 0, 1
        )  # -> [new + 1, old]: the part left of each edge
        weights = (covered[1:] - covered[:-1]) * new / old
        pixels = np.moveaxis(np.tensordot(weights, pixels, (1, axis)), 0, axis)
    channels = [
        Image.fromarray(channel.astype(np.float32)) for channel in np.moveaxis(pixels, -1, 0)
    ]
    return np.stack(
        [channel.resize((size, size), Image.Resampling.BILINEAR) for channel in channels], -1
    )


def assert_pixels(data: bytes, expected: Image.Image | np.ndarray, tolerance: float = 0) -> None:
    np.testing.assert_allclose(
        decoded(data), np.asarray(expected, np.float32), rtol=0, atol=tolerance
    )


# Files that Pillow does not write, by hand.


def png_chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def png(width: int, height: int, depth: int, color_type: int, rows: bytes, *chunks: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    pixels = png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + b"".join(chunks) + pixels


def png_of(values: np.ndarray, depth: int, color_type: int, *chunks: bytes) -> bytes:
    """Values [h, w, bytes a pixel] as they stand in the file."""
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    return png(values.shape[1], values.shape[0], depth, color_type, rows, *chunks)


def bmp(
    rows: np.ndarray, height: int, bits: int, compression: int, header: int = 40, tail: bytes = b""
) -> bytes:
    dib = (
        struct.pack("<IiiHHI", header, rows.shape[1], height, 1, bits, compression).ljust(40, b"\0")
        + tail
    )
    dib, pixels = dib.ljust(header, b"\0"), rows.tobytes()
    start = 14 + len(dib)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + dib + pixels


MASKS = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)


def gif_parts(source: Image.Image, **options: object) -> tuple[bytes, bytes, bytes]:
    """A GIF by Pillow as header with colours, extensions, and frame (image descriptor and data)."""
    data = encoded(source, "GIF", **options)
    start = 13 + 3 * 2 ** (1 + data[10] % 8)
    position = start
    while data[position] == 0x21:
        position += 2
        while data[position]:
            position += 1 + data[position]
        position += 1
    return data[:start], data[start:position], data[position:-1]


def exif(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    """An EXIF block with an entry before the orientation."""
    tiff = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 8)
    entries = struct.pack(order + "HHIHH", 0x0100, 3, 1, 7, 0)
    entries += struct.pack(order + "HHIHH", 0x0112, kind, 1, orientation, 0)
    return b"Exif\0\0" + tiff + struct.pack(order + "H", 2) + entries + bytes(4)


def with_segment(jpeg: bytes, marker: int, content: bytes) -> bytes:
    """The JPEG with a segment behind its first one."""
    end = 4 + struct.unpack(">H", jpeg[4:6])[0]
    return jpeg[:end] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + jpeg[end:]


def transparent_palette() -> Image.Image:
    source = picture().quantize(17)
    source.info["transparency"] = bytes([255] * 3 + [0, 40, 200])
    return source


# Formats: pixels of pictures that need no resizing.


PICTURES: dict[str, Image.Image] = {
    "grey": picture("L"),
    "grey and alpha": picture("LA"),
    "rgb": picture(),
    "rgba": picture("RGBA"),
    "palette": picture().quantize(17),
    "palette of 2": picture().quantize(2),
    "palette of 4": picture().quantize(4),
    "1 bit": picture("L").convert("1"),
}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("format", ["PNG", "BMP", "GIF", "WEBP"])
def test_lossless_pictures_equal_pillows(name: str, format: str) -> None:
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    source = PICTURES[name]
    if format in ("BMP", "WEBP") and source.mode in ("LA", "P", "1"):
        source = source.convert(
            {"LA": "RGBA", "P": "P" if format == "BMP" else "RGB", "1": "L"}[source.mode]
        )
    data = encoded(source, format, **options)
    assert_pixels(data, over_white(opened(data)))


def test_opaque_alpha_changes_nothing() -> None:
    opaque = picture()
    opaque.putalpha(255)
    for format, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        assert_pixels(encoded(opaque, format, **options), picture())


@pytest.mark.parametrize("kind", ["palette", "grey", "rgb"])
def test_transparent_colors_of_a_png_are_white(kind: str) -> None:
    source = {"palette": transparent_palette(), "grey": picture("L"), "rgb": picture()}[kind]
    color = source.getpixel((3, 4))
    data = encoded(source, "PNG", transparency=source.info.get("transparency", color))
    expected = over_white(opened(data))
    assert np.any(np.asarray(expected) != np.asarray(opened(data).convert("RGBA"))[..., :3])
    assert_pixels(data, expected)


def test_png_of_16_bits_keeps_the_high_byte() -> None:
    high, low = scene(), scene()[::-1]
    for channels, color_type in ((1, 0), (3, 2)):
        pairs = np.stack([high[..., :channels], low[..., :channels]], axis=-1)
        data = png_of(pairs.reshape(SIZE, SIZE, -1), 16, color_type)
        assert_pixels(data, np.broadcast_to(high[..., :channels], (SIZE, SIZE, 3)))


def test_png_of_16_bits_with_alpha() -> None:
    pairs = np.repeat(scene(channels=4), 2, axis=-1)
    assert_pixels(png_of(pairs, 16, 6), over_white(picture("RGBA")))


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_png_of_few_bits(depth: int) -> None:
    packed = np.random.default_rng(depth).integers(0, 256, (SIZE, SIZE * depth // 8, 1), np.uint8)
    data = png(SIZE, SIZE, depth, 0, b"".join(b"\0" + row.tobytes() for row in packed))
    bits = np.unpackbits(packed.squeeze(-1), axis=1).reshape(SIZE, SIZE, depth)
    levels = bits @ (2 ** np.arange(depth)[::-1]) * 255 // (2**depth - 1)
    assert_pixels(data, np.repeat(levels[..., np.newaxis], 3, axis=-1))


def test_png_with_chunks_before_the_pixels() -> None:
    chunks = [png_chunk(b"tEXt", b"Comment\0" + bytes([65 + number]) * 300) for number in range(40)]
    color = scene()[3, 4]
    transparent = png_chunk(b"tRNS", struct.pack(">HHH", *color))
    data = png_of(scene(), 8, 2, *chunks, transparent)
    assert_pixels(data, np.where(np.all(scene() == color, axis=-1, keepdims=True), 255, scene()))


@pytest.mark.parametrize("top_down", [False, True])
def test_bmp_of_32_bits(top_down: bool) -> None:
    rgba = scene(channels=4)
    stored = rgba[..., [2, 1, 0, 3]] if top_down else rgba[::-1, :, [2, 1, 0, 3]]
    height = -SIZE if top_down else SIZE
    assert_pixels(bmp(stored, height, 32, 0), rgba[..., :3])
    assert_pixels(bmp(stored, height, 32, 3, 40, MASKS[:12]), rgba[..., :3])
    assert_pixels(bmp(stored, height, 32, 3, 108, MASKS), over_white(picture("RGBA")))


def test_bmp_with_bytes_behind_the_pixels() -> None:
    assert_pixels(encoded(picture(), "BMP") + b"more", picture())


@pytest.mark.parametrize(
    "data",
    [
        bmp(scene()[..., 0], SIZE, 8, 1, tail=bytes(1024)),
        bmp(scene()[..., :2], SIZE, 16, 0),
        bmp(scene(channels=4), SIZE, 32, 3, 40, MASKS[::-1][:12]),
        encoded(picture("L").convert("1"), "BMP"),
        b"BM" + struct.pack("<IHHIIHHHH", 0, 0, 0, 26, 12, SIZE, SIZE, 1, 24) + scene().tobytes(),
    ],
    ids=["run length", "16 bits", "other masks", "1 bit", "OS/2"],
)
def test_other_bmps_are_refused(data: bytes) -> None:
    assert image.check(data) == image.UNSUPPORTED_BMP


def test_gif_with_transparency_and_own_colors() -> None:
    source = picture().quantize(17)
    header, extensions, frame = gif_parts(source, transparency=3)
    data = header + extensions + frame + b";"
    assert_pixels(data, over_white(opened(data)))
    # The same with the colours moved to the frame: flags of 32 colours in its descriptor, none in
    # the header.
    colors = header[13:]
    moved = header[:10] + bytes([header[10] & 0x7F]) + header[11:13] + extensions
    moved += frame[:9] + bytes([frame[9] | 0x80 | header[10] % 8]) + colors + frame[10:] + b";"
    assert_pixels(moved, over_white(opened(data)))


def test_gif_frame_has_its_place_on_a_white_canvas() -> None:
    part = picture(height=10, width=12).quantize(17)
    header, extensions, frame = gif_parts(part)
    header = header[:6] + struct.pack("<HH", SIZE, SIZE) + header[10:]
    frame = frame[:1] + struct.pack("<HH", 5, 9) + frame[5:]
    expected = Image.new("RGB", (SIZE, SIZE), WHITE)
    expected.paste(part.convert("RGB"), (5, 9))
    assert_pixels(header + extensions + frame + b";", expected)


@pytest.mark.parametrize("interlace", [0, 1])
def test_first_frame_of_an_animated_gif(interlace: int) -> None:
    frames = [picture().rotate(90 * turns).quantize(64) for turns in range(3)]
    options = {"save_all": True, "append_images": frames[1:], "comment": b"c" * 999}
    data = encoded(frames[0], "GIF", interlace=interlace, **options)
    assert_pixels(data, frames[0].convert("RGB"))


def test_gif_of_many_blocks() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (700, 900), np.uint8)
    data = encoded(Image.fromarray(noise), "GIF")
    assert len(data) > 600_000
    expected = np.repeat(
        np.asarray(opened(data).convert("L"), np.float32)[..., np.newaxis], 3, axis=-1
    )
    np.testing.assert_allclose(decoded(data, 1)[0, 0], expected.mean(axis=(0, 1)), atol=0.01)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_first_frame_of_an_animated_webp(mode: str) -> None:
    # Without the alpha flag, TensorFlow's decoder would write beyond its memory.
    for side in (SIZE, 100):
        frames = [picture(mode, side, side).rotate(90 * turns) for turns in range(3)]
        data = encoded(
            frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True, exact=True
        )
        assert data[20] & 0x12 == (0x12 if mode == "RGBA" else 0x02)
        for _ in range(20):
            np.testing.assert_array_equal(decoded(data, side), np.asarray(over_white(frames[0])))


def test_lossy_webp() -> None:
    for mode in ("RGB", "RGBA"):
        data = encoded(picture(mode), "WEBP", quality=70)
        assert_pixels(data, over_white(opened(data)))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}], ids=str
)
def test_jpegs_equal_pillows(mode: str, options: dict[str, int]) -> None:
    data = encoded(picture(mode), "JPEG", **options)
    assert_pixels(data, opened(data).convert("RGB"))


@pytest.mark.parametrize("transform", [0, 2], ids=["CMYK", "YCCK"])
def test_jpeg_of_four_channels(transform: int) -> None:
    data = bytearray(encoded(picture().convert("CMYK"), "JPEG", quality=95))
    data[data.index(b"Adobe") + 11] = transform
    assert_pixels(bytes(data), opened(bytes(data)).convert("RGB"), tolerance=2)


# EXIF.


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation: int) -> None:
    jpeg = encoded(picture(), "JPEG", quality=95)
    for order in "<>":
        data = with_segment(jpeg, 0xE1, exif(orientation, order))
        assert opened(data).getexif()[0x0112] == orientation
        assert_pixels(data, ImageOps.exif_transpose(opened(data)))


def test_orientation_of_a_photo_that_is_no_square() -> None:
    data = encoded(picture(height=60, width=80), "JPEG", exif=exif(6))
    turned = ImageOps.exif_transpose(opened(data))
    assert turned.size == (60, 80)
    assert_pixels(data, resized(turned), tolerance=0.01)


def test_orientation_behind_other_segments() -> None:
    data = with_segment(encoded(picture(), "JPEG"), 0xE1, exif(3))
    data = with_segment(data, 0xFE, b"a comment")
    data = with_segment(data, 0xE2, b"ICC_PROFILE\0" + bytes(60_000))
    data = with_segment(data, 0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")
    assert_pixels(data, ImageOps.exif_transpose(opened(data)))


@pytest.mark.parametrize(
    "block",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        exif(0),
        exif(9),
        exif(6, kind=4),
        exif(6)[:-20],
        exif(6).replace(b"II", b"XX"),
        exif(6).replace(b"*\0\x08\0\0\0", b"*\0\xff\xff\xff\xff"),
        exif(6).replace(b"*\0\x08\0\0\0", b"*\0\xff\xff\0\0"),
        exif(6).replace(b"\x02\0\0\x01", b"\0\0\0\x01"),
        exif(6).replace(b"*\0", b"+\0"),
        exif(6).replace(b"Exif\0\0", b"Exof\0\0"),
    ],
    ids=str,
)
def test_malformed_orientation_is_ignored(block: bytes) -> None:
    jpeg = encoded(picture(), "JPEG")
    assert_pixels(with_segment(jpeg, 0xE1, block), opened(jpeg))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_orientation_of_png_and_webp(format: str, orientation: int) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    for order in "<>":
        data = encoded(picture(), format, exif=exif(orientation, order)[6:], **options)
        assert_pixels(data, ImageOps.exif_transpose(opened(data)))


def test_orientation_of_a_webp_with_the_prefix_of_a_jpeg() -> None:
    block = exif(6)[6:]
    data = encoded(picture(), "WEBP", lossless=True, exif=block)
    assert data.endswith(block)
    chunk = struct.pack("<4sI", b"EXIF", len(block) + 6) + b"Exif\0\0" + block
    data = data[: -len(block) - 8] + chunk
    data = data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    assert_pixels(data, picture().rotate(-90))


def test_orientation_after_the_pixels_of_a_png_is_not_read() -> None:
    data = encoded(picture(), "PNG")
    late = data[:-12] + png_chunk(b"eXIf", exif(6)[6:]) + data[-12:]
    assert_pixels(late, picture())


# Sizes.


@pytest.mark.parametrize("height", [1, 2, 20, 32, 33, 100, 701])
@pytest.mark.parametrize("width", [1, 2, 20, 32, 33, 100, 701])
def test_any_size(height: int, width: int) -> None:
    noise = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)
    source = Image.fromarray(noise)
    assert_pixels(encoded(source, "PNG"), resized(source), tolerance=0.01)


@pytest.mark.parametrize("shape", [(1, 60_000), (60_000, 1), (3, 9_000)])
def test_extreme_shapes(shape: tuple[int, int]) -> None:
    row = b"\0" + bytes(range(1, 256)) * (shape[1] // 255) + bytes(shape[1] % 255)
    data = png(shape[1], shape[0], 8, 0, row * shape[0])
    assert_pixels(data, resized(opened(data)), tolerance=0.1)


def test_whole_factors_equal_pillows() -> None:
    source = picture(height=3 * SIZE, width=5 * SIZE)
    assert_pixels(encoded(source, "PNG"), source.reduce((5, 3)), tolerance=0.54)


def test_fine_patterns_do_not_alias() -> None:
    """A grating that is too fine for the result comes out nearly flat."""
    x = np.arange(1000)
    grating = np.broadcast_to(127.5 + 127.5 * np.sin(2 * np.pi * x / 2.6), (750, 1000)).astype(
        np.uint8
    )
    pixels = decoded(encoded(Image.fromarray(grating), "PNG"), 224)
    assert np.std(grating) > 85
    assert np.std(pixels) < 15


# Rows.


def rows_of_all_kinds() -> list[bytes]:
    """Good files of every format, sizes mixed."""
    return [
        encoded(picture(height=50, width=40), "JPEG"),
        encoded(picture("RGBA", 31, 64), "PNG"),
        encoded(picture(), "GIF"),
        encoded(picture(height=3, width=200), "BMP"),
        encoded(picture("RGBA", 64, 64), "WEBP"),
        encoded(picture(), "JPEG", exif=exif(5)),
        encoded(picture("L", 1, 1), "PNG"),
        encoded(picture().quantize(9), "BMP"),
    ]


BAD_ROWS = {
    b"": image.NOT_AN_IMAGE,
    b"\xff": image.NOT_AN_IMAGE,
    b"once upon a time": image.NOT_AN_IMAGE,
    b"%PDF-1.7\n" + bytes(100): image.NOT_AN_IMAGE,
    b"\xff\xd8\xff": image.DAMAGED,
    b"\x89PNG\r\n\x1a\n": image.DAMAGED,
    b"GIF89a": image.DAMAGED,
    b"GIF8": image.DAMAGED,
    b"BM": image.UNSUPPORTED_BMP,
    b"RIFF\0\0\0\0WEBP": image.DAMAGED,
    b"RIFF\0\0\0\0WEBPVP8X": image.DAMAGED,
    b"RIFF\0\0\0\0WEBPFFFF" + bytes(100): image.DAMAGED,
}


def test_each_row_stands_for_itself() -> None:
    good, bad = rows_of_all_kinds(), list(BAD_ROWS)
    rows = [row for pair in zip(good + good, bad, strict=False) for row in pair]
    images, error = decoded_rows(rows)
    for row, pixels, text in zip(rows, images, error, strict=True):
        if row in BAD_ROWS:
            assert text == BAD_ROWS[row]
            assert not pixels.any()
        else:
            assert text == ""
            np.testing.assert_array_equal(pixels, decoded(row))


def test_rows_without_a_bad_one_and_one_row() -> None:
    good = rows_of_all_kinds()
    images, error = decoded_rows(good)
    assert error == [""] * len(good)
    for row, pixels in zip(good, images, strict=True):
        np.testing.assert_array_equal(pixels, decoded(row))
        np.testing.assert_array_equal(pixels, decoded_rows([row])[0][0])


def test_no_rows() -> None:
    images, error = decoded_rows([])
    assert images.shape == (0, SIZE, SIZE, 3)
    assert error == []


def test_all_rows_bad() -> None:
    images, error = decoded_rows(list(BAD_ROWS))
    assert error == list(BAD_ROWS.values())
    assert not images.any()


def test_eager_decoding_gives_the_same() -> None:
    good = rows_of_all_kinds()
    for row in good:
        np.testing.assert_array_equal(image.decode(tf.constant(row), SIZE), decoded(row))
    rows = image.decode_rows(tf.constant([*good, b"text"]), SIZE)
    assert rows.images.shape == (len(good) + 1, SIZE, SIZE, 3)
    np.testing.assert_array_equal(rows.images, decoded_rows([*good, b"text"])[0])
    assert list(rows.error.numpy()) == [b""] * len(good) + [image.NOT_AN_IMAGE.encode()]


def test_tf_data_gives_the_same() -> None:
    good = rows_of_all_kinds() * 5
    dataset = tf.data.Dataset.from_tensor_slices(good)
    dataset = dataset.map(lambda data: image.decode(data, SIZE), num_parallel_calls=4)
    assert dataset.element_spec == tf.TensorSpec([SIZE, SIZE, 3])
    for row, pixels in zip(good, dataset.batch(7).unbatch(), strict=True):
        np.testing.assert_array_equal(pixels, decoded(row))


def test_one_graph_serves_all_batch_sizes() -> None:
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def decode(image_bytes: tf.Tensor) -> image.DecodedImages:
        return image.decode_rows(image_bytes, 8)

    for count in (3, 0, 1, 5):
        assert decode(tf.constant(rows_of_all_kinds()[:count], tf.string)).error.shape == [count]
    assert decode.experimental_get_tracing_count() == 1


def all_ops(graph: tf.Graph) -> set[str]:
    definition = graph.as_graph_def()
    functions = definition.library.function
    return {
        node.op
        for nodes in (definition.node, *(one.node_def for one in functions))
        for node in nodes
    }


def test_saved_model_gives_the_same(tmp_path: Path) -> None:
    module = tf.Module()
    module.decode = row_decoder(SIZE)
    tf.saved_model.save(module, str(tmp_path), signatures=module.decode)
    rows = [*rows_of_all_kinds(), b"text", rows_of_all_kinds()[0][:300]]
    signature = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    answer = signature(tf.constant(rows))
    images, error = decoded_rows(rows)
    np.testing.assert_array_equal(answer["images"], images)
    assert [text.decode() for text in answer["error"].numpy()] == error
    assert error[-2:] == [image.NOT_AN_IMAGE, image.DAMAGED]
    assert not [op for op in all_ops(signature.graph) if "Py" in op]
    assert "DecodeJpeg" in all_ops(signature.graph)


# Errors.


def test_decode_raises_what_is_wrong() -> None:
    one_bit = encoded(picture("L").convert("1"), "BMP")
    for data, message in ((b"text", image.NOT_AN_IMAGE), (one_bit, image.UNSUPPORTED_BMP)):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            decoded(data)
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoded(encoded(picture(), "JPEG")[:500])


def test_check() -> None:
    for row in rows_of_all_kinds():
        assert image.check(row) == ""
    for row, message in BAD_ROWS.items():
        assert image.check(row) == message


def test_inspect_tells_the_size_that_is_stored() -> None:
    for row in rows_of_all_kinds():
        assert image.inspect(row) == ("", *opened(row).size[::-1])
    assert image.inspect(b"text") == (image.NOT_AN_IMAGE, 1, 1)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
def test_cut_off_file(format: str) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(picture(height=60, width=80), format, **options)
    cuts = [data[: len(data) * part // 30] for part in range(30)]
    _, error = decoded_rows(cuts)
    assert all(error)
    assert set(error[15:]) == {image.DAMAGED}
    # What preparation accepts, training and serving can read, and the other way round.
    assert [image.check(cut) for cut in cuts] == error
    rng = np.random.default_rng(0)
    mutated = [bytearray(data) for _ in range(100)]
    for row in mutated:
        for place in rng.integers(0, len(data), 6):
            row[place] = rng.integers(256)
    _, error = decoded_rows([bytes(row) for row in mutated])
    assert [image.check(bytes(row)) for row in mutated] == error
    assert any(error) or format == "BMP"  # Whose pixels may have any value.


def photo(height: int = 160, width: int = 128) -> Image.Image:
    """A scene with noise, so that every block has data of its own."""
    noise = np.random.default_rng(0).normal(0, 8, [height, width, 3])
    return Image.fromarray((scene(height, width) + noise).clip(0, 255).astype(np.uint8))


@functools.cache
def partial_decoder(max_missing: float) -> Callable[[tf.Tensor], image.PartlyDecodedImages]:
    decode = functools.partial(
        image.decode_rows_in_part,
        image_size=SIZE,
        max_pixels=MAX_PIXELS,
        max_missing=max_missing,
    )
    return tf.function(decode, input_signature=[tf.TensorSpec([None], tf.string)])


JPEG_OPTIONS = [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}]


@pytest.mark.parametrize("options", JPEG_OPTIONS, ids=str)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_whole_jpeg_without_its_end_marker(mode: str, options: dict[str, int]) -> None:
    data = encoded(photo().convert(mode), "JPEG", **options)
    trailing = data + b"\xff\xda and no end"
    for variant in (data[:-2], data[:-1], data + bytes(100), trailing):
        np.testing.assert_array_equal(decoded(variant), decoded(data))
        assert image.inspect(variant) == ("", 160, 128)
        np.testing.assert_array_equal(decoded_rows([variant])[0][0], decoded(data))


@pytest.mark.parametrize("options", JPEG_OPTIONS, ids=str)
def test_jpeg_cut_anywhere_is_an_error(options: dict[str, int]) -> None:
    data = encoded(photo(), "JPEG", optimize=True, **options)
    cuts = [data[: -2 - count] for count in (*range(8, 60, 3), *range(60, len(data) - 4, 397))]
    _, error = decoded_rows(cuts)
    assert set(error) == {image.DAMAGED}
    assert {image.check(cut) for cut in cuts[::4]} == {image.DAMAGED}


def test_how_much_of_a_jpeg_may_be_missing() -> None:
    data = encoded(photo(), "JPEG", quality=95, subsampling=0)
    for share in (0.1, 0.3, 0.5, 0.8):
        cut = data[: int(len(data) * (1 - share))]
        images, error, missing = partial_decoder(0.6)(tf.constant([data, cut, b"text"]))
        assert missing.numpy()[[0, 2]].tolist() == [0, 0]
        assert [text.decode() for text in error.numpy()[::2]] == ["", image.NOT_AN_IMAGE]
        if share == 0.8:
            assert error.numpy()[1] == image.DAMAGED.encode() and missing.numpy()[1] == 0
            continue
        # Blocks of 8 rows: what the file holds of them, by its bytes, within two rows of blocks.
        rows = round(160 * (1 - float(missing[1])))
        assert error.numpy()[1] == b"" and rows % 8 == 0
        assert abs(rows - 160 * (1 - share)) <= 16
        # The row of blocks in which the file ends is there in part; below it all is grey. Five rows
        # are one of the result.
        np.testing.assert_allclose(images[1][: rows // 5], images[0][: rows // 5], atol=0.01)
        np.testing.assert_allclose(images[1][-(-(rows + 8) // 5) :], 128, atol=0.01)


def test_png_without_its_end() -> None:
    data = encoded(photo(), "PNG")
    np.testing.assert_array_equal(decoded(data[:-12]), decoded(data))
    assert image.check(data[:-12]) == ""
    assert {image.check(data[:-cut]) for cut in (1, 6, 11, 13, 100)} == {image.DAMAGED}


def test_broken_gif_pixels_are_an_error() -> None:
    header, extensions, frame = gif_parts(picture().quantize(64))
    broken = bytearray(frame)
    broken[20:40] = b"\xff" * 20
    assert image.check(header + extensions + frame + b";") == ""
    assert image.check(header + extensions + bytes(broken) + b";") == image.DAMAGED


# Traps.


def declared(width: int, height: int) -> dict[str, bytes]:
    """Headers of every format that declare a size, and some bytes behind."""
    size24 = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    vp8x = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + size24
    size14 = (width - 1) % 16384 | (height - 1) % 16384 << 14
    vp8l = b"VP8L" + struct.pack("<IBI", 1000, 0x2F, size14)
    vp8 = b"VP8 " + struct.pack(
        "<I6sHH", 1000, b"\x50\0\0\x9d\x01\x2a", width % 16384, height % 16384
    )
    jpeg = bytearray(encoded(picture(), "JPEG"))
    place = jpeg.index(b"\xff\xc0") + 5
    jpeg[place : place + 4] = struct.pack(">HH", height % 65536, width % 65536)
    colors = bytes(6)
    screen = struct.pack("<HH", width % 65536, height % 65536)
    return {
        "JPEG": bytes(jpeg),
        "PNG": png(width, height, 8, 2, bytes(1_000_000)),
        "GIF canvas": b"GIF89a"
        + screen
        + b"\x80\0\0"
        + colors
        + b",\0\0\0\0\1\0\1\0\0\2\2\x44\1\0;",
        "GIF frame": b"GIF89a\1\0\1\0\x80\0\0"
        + colors
        + b",\0\0\0\0"
        + screen
        + b"\0\2\2\x44\1\0;",
        "BMP": bmp(np.zeros([1, width], np.uint8), height, 24, 0),
        "VP8X": b"RIFF\xff\0\0\0WEBP" + vp8x + bytes(1000),
        "VP8L": b"RIFF\xff\0\0\0WEBP" + vp8l + bytes(1000),
        "VP8": b"RIFF\xff\0\0\0WEBP" + vp8 + bytes(1000),
    }


@pytest.mark.parametrize("format", declared(1, 1))
def test_more_pixels_than_allowed_are_refused(format: str) -> None:
    width, height = (16_000, 15_000) if format in ("VP8", "VP8L") else (30_000, 29_000)
    message = (
        f"declares {width}x{height} pixels, above the limit of 50000000: send a smaller picture"
    )
    assert image.check(declared(width, height)[format]) == message


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
@pytest.mark.parametrize("lossless", [True, False])
def test_the_limit_is_exact(format: str, lossless: bool) -> None:
    options = {"lossless": lossless} if format == "WEBP" else {}
    data = encoded(picture(height=20, width=30), format, **options)
    assert image.check(data, 600) == ""
    assert (
        image.check(data, 599)
        == "declares 30x20 pixels, above the limit of 599: send a smaller picture"
    )


@pytest.mark.parametrize("max_pixels", [0, 1 << 30])
def test_limit_out_of_range(max_pixels: int) -> None:
    with pytest.raises(ConfigError, match=f"max_pixels={max_pixels} is out of range: choose 1 to"):
        image.check(b"", max_pixels)


def memory(key: str) -> float:
    """MB of this process: VmRSS now, VmHWM at its highest."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split(f"{key}:")[1].split()[0]) / 1024


@pytest.fixture
def peak_memory() -> Iterator[Callable[[], float]]:
    """Answers by how many MB the process has ever outgrown what it has now."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError as error:
        pytest.skip(f"the system does not tell a process's highest memory: {error}")
    start = memory("VmRSS")
    yield lambda: memory("VmHWM") - start


def test_bombs_take_no_memory(peak_memory: Callable[[], float]) -> None:
    frames = 300
    header, extensions, frame = gif_parts(Image.new("L", (1000, 1000)))
    animation = header + (extensions + frame) * frames + b";"
    bombs = [*declared(30_000, 30_000).values(), animation]
    assert len(animation) < 1_000_000
    _, error = decoded_rows(bombs)
    assert error[-1] == ""
    assert all(error[:-1])
    # All frames of the animation would take 300 MB, and 900 as pixels; a 30,000 x 30,000 picture
    # 2,700.
    assert peak_memory() < 150


def test_walks_over_hostile_files_end_soon() -> None:
    """Files made of the smallest parts that a walk steps over: the time is bounded, whatever their
    length.
    """
    hostile = [
        b"\xff\xd8" + b"\xff\xe0\0\2" * 500_000 + encoded(picture(), "JPEG")[2:],
        png(SIZE, SIZE, 8, 2, bytes((3 * SIZE + 1) * SIZE), png_chunk(b"tEXt", b"") * 100_000),
        b"GIF89a\1\0\1\0\x80\0\0" + bytes(6) + (b"!\xfe" + b"\1\1" * 400 + b"\0") * 1000,
        b"GIF89a\1\0\1\0\x80\0\0" + bytes(6) + b",\0\0\0\0\1\0\1\0\0\2" + b"\1\1" * 1_000_000,
    ]
    decoded_rows([b""])
    start = time.monotonic()
    decoded_rows(hostile)
    assert time.monotonic() - start < 10


def test_jpeg_of_too_many_scans() -> None:
    data = encoded(Image.new("RGB", (1200, 1000)), "JPEG", progressive=True)
    scan = data[
        data.rindex(b"\xff\xc4", 0, data.rindex(b"\xff\xda")) : -2
    ]  # the last, and its Huffman table
    assert image.check(data, 1_200_000) == ""
    assert image.check(data[:-2] + scan * 15 + data[-2:], 1_200_000) == ""
    assert image.check(data[:-2] + scan * 30 + data[-2:], 1_200_000) == image.TOO_MANY_SCANS
    # What so small a picture may cost is measured by the largest one allowed.
    assert image.check(data[:-2] + scan * 30 + data[-2:]) == ""


# Augmentation.


def test_random_flip() -> None:
    pixels = tf.constant(scene(), tf.float32)

    def flip(number: tf.Tensor) -> tf.Tensor:
        return image.random_flip(pixels, tf.stack([7, tf.cast(number, tf.int32)]))

    flipped = list(tf.data.Dataset.range(400).map(flip, num_parallel_calls=4).as_numpy_iterator())
    mirrored = [np.array_equal(one, scene()[:, ::-1]) for one in flipped]
    unchanged = [np.array_equal(one, scene()) for one in flipped]
    assert mirrored == [not one for one in unchanged]
    assert 160 < sum(mirrored) < 240
    for number in range(20):
        np.testing.assert_array_equal(flip(tf.constant(number)), flipped[number])


def test_random_crop() -> None:
    """A picture of its own coordinates shows which part was kept."""
    size = 64
    rows, columns = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    pixels = tf.constant(np.stack([rows, columns, 0 * rows], axis=-1), tf.float32)
    shares, corners = [], set()
    for number in range(200):
        cropped = image.random_crop(pixels, tf.constant([3, number]), 0.5).numpy()
        assert cropped.shape == (size, size, 3)
        # Scaling back moves the outermost pixels by up to half a pixel inward.
        heights, widths = np.ptp(cropped[..., 0]) + 1, np.ptp(cropped[..., 1]) + 1
        assert np.ptp(cropped[0, :, 0]) == 0 and np.ptp(cropped[:, 0, 1]) == 0
        shares.append(heights * widths / size**2)
        corners.add((round(float(cropped[0, 0, 0])), round(float(cropped[0, 0, 1]))))
        np.testing.assert_array_equal(
            cropped, image.random_crop(pixels, tf.constant([3, number]), 0.5)
        )
    assert 0.46 < min(shares) < 0.55 and 0.9 < max(shares) <= 1 and len(corners) > 100


def test_mirroring_does_not_hang_on_the_crop() -> None:
    pixels = tf.constant(
        np.broadcast_to(
            np.arange(SIZE, dtype=np.float32)[:, np.newaxis, np.newaxis], (SIZE, SIZE, 3)
        )
    )
    columns = tf.transpose(pixels, [1, 0, 2])
    mirrored, parts = [], []
    for number in range(600):
        seed = tf.constant([3, number])
        mirrored.append(bool(image.random_flip(columns, seed)[0, 0, 0] > 0))
        cropped = [image.random_crop(axis, seed, 0.5).numpy() for axis in (pixels, columns)]
        parts.append([value for axis in cropped for value in (np.ptp(axis), axis[0, 0, 0])])
    # 600 draws without a connection correlate by 0.04 (one standard deviation).
    assert np.abs(np.corrcoef(np.c_[mirrored, parts], rowvar=False)[0, 1:]).max() < 0.15


# Real photos.


def test_real_photos_equal_pillows(shared: Path) -> None:
    for path in sorted((shared / "flickr8k" / "Images").glob("*.jpg"))[:20]:
        data = path.read_bytes()
        source = opened(data).convert("RGB")
        np.testing.assert_array_equal(decoded(data, 224), np.asarray(source.resize((224, 224))))


# Fuzz.


def mutated(rng: np.random.Generator, sources: list[bytes]) -> bytes:
    """One of the files after up to three accidents."""
    data = bytearray(sources[rng.integers(len(sources))])
    for _ in range(rng.integers(1, 4)):
        # A third of the accidents hit the header, where they do most.
        place = int(rng.integers(len(data) + 1 if rng.random() < 2 / 3 else min(len(data), 64) + 1))
        length = int(rng.integers(1, 17))
        kind = rng.integers(7)
        if kind == 0:
            data[place : place + length] = rng.bytes(length)
        elif kind == 1:
            data[place : place + 1] = rng.choice([b"\0", b"\xff", b"\x7f", b"\x80", b"\1"])
        elif kind == 2:
            del data[place:]
        elif kind == 3:
            del data[place : place + length]
        elif kind == 4:
            data[place:place] = rng.bytes(length)
        elif kind == 5:
            data[place:place] = data[place : place + 20 * length]
        else:
            other = sources[rng.integers(len(sources))]
            data[place:] = other[int(rng.integers(len(other))) :]
    return bytes(data)


def fuzz_sources() -> list[bytes]:
    frames = [picture(height=20, width=24).rotate(90 * turns) for turns in range(3)]
    animated = {"save_all": True, "append_images": frames[1:]}
    jpeg = encoded(picture(height=20, width=24), "JPEG")
    return [
        *rows_of_all_kinds(),
        jpeg,
        encoded(picture(height=20, width=24), "JPEG", progressive=True, exif=exif(6, ">")),
        encoded(picture(height=20, width=24).convert("CMYK"), "JPEG"),
        encoded(transparent_palette(), "PNG"),
        encoded(frames[0], "GIF", **animated),
        encoded(frames[0], "WEBP", lossless=True, **animated),
        encoded(frames[0], "WEBP"),
        bmp(scene(channels=4), SIZE, 32, 3, 108, MASKS),
    ]


def test_fuzz() -> None:
    """Damaged files between good ones: no crash, no neighbour changes, the same twice, memory
    stays.
    """
    count = int(os.environ.get("IMGCAP_FUZZ", "2000"))
    rng = np.random.default_rng(0)
    sources, good = fuzz_sources(), rows_of_all_kinds()
    reference = decoded_rows(good)[0]
    seen, before = 0, 0.0
    failed = 0
    while seen < count:
        choice = rng.integers(-3 * len(good), len(good), 24)
        rows = [mutated(rng, sources) if number < 0 else good[number] for number in choice]
        images, error = decoded_rows(rows, max_pixels=1_000_000)
        again, error_again = decoded_rows(rows, max_pixels=1_000_000)
        np.testing.assert_array_equal(images, again)
        assert error == error_again
        kept = choice >= 0
        np.testing.assert_array_equal(images[kept], reference[choice[kept]])
        assert not any(text for text, is_good in zip(error, kept, strict=True) if is_good)
        assert images.min() >= 0
        assert images.max() < 255.001
        assert not images[[bool(text) for text in error]].any()
        failed += sum(map(bool, error))
        seen += int((~kept).sum())
        if not before and seen > count / 4:
            before = memory("VmRSS")
    assert failed > seen / 5
    assert seen - failed > seen / 20
    assert memory("VmRSS") - before < 100
