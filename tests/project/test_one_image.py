"""One picture everywhere: for each kind of file, whatever opens it makes the pixels of the graph.

Each kind is written here, by Pillow or byte by byte, from a scene whose pixels are known. So every
place is held to the graph, and the graph to the scene.
"""

import base64
import functools
import io
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageChops

from imgcap.cli.demo.report import draw_captions
from imgcap.data import image
from imgcap.evaluation.report import contact_sheet
from serving.cli.caption import _write_heatmap
from serving.client.answers import Caption
from serving.client.connection import encode
from serving.page.answers.markup import card_html
from serving.page.photos.thumbnails import make_thumbnails

WIDTH, HEIGHT = 96, 80
MAX_SIDE = 72
SIZE = 24
LEVELS = 1.0
"""The largest mean difference allowed, of 255."""


OPENED, DECODED = (
    ("sent, opened by Pillow", "sent, decoded by Pillow"),
    ("sent, decoded by Pillow",),
)


class Kind(NamedTuple):
    """A file and what it shows.

    Attributes:
        file: the encoded image.
        shown: its picture, RGB, upright and over white.
        lossy: mean difference from it that the encoding itself may make.
        lost: of PLACES, those that Pillow's own image of the file reaches without what the file
            says.
    """

    file: bytes
    shown: Image.Image
    lossy: float = 0.6
    lost: tuple[str, ...] = ()


def scene(channels: int = 3) -> np.ndarray:
    """Smooth colours that no turn leaves as they are, uint8 [h, w, c]."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    waves = [130 + 70 * np.sin(x / 19 + c) + 50 * np.cos(y / (13 + 4 * c)) for c in range(channels)]
    return np.stack(waves, axis=-1).clip(0, 255).astype(np.uint8)


def picture(channels: int = 3) -> Image.Image:
    pixels = scene(channels)
    return Image.fromarray(pixels[..., 0] if channels == 1 else pixels)


def encoded(source: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    source.save(buffer, format, **options)
    return buffer.getvalue()


def over_white(source: Image.Image) -> Image.Image:
    source = source.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", source.size, "white"), source).convert("RGB")


def keyed(pixels: np.ndarray, mask: np.ndarray) -> Image.Image:
    """The picture, white where the mask says, bool [h, w]."""
    pixels = np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels
    return Image.fromarray(np.where(mask[..., np.newaxis], 255, pixels).astype(np.uint8))


def chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def png(rows: np.ndarray, depth: int, color_type: int, *chunks: bytes, width: int = WIDTH) -> bytes:
    """A PNG of rows as they stand in the file, uint8 [h, bytes a row]."""
    header = struct.pack(">IIBBBBB", width, len(rows), depth, color_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def wide(pixels: np.ndarray) -> np.ndarray:
    """Rows of 16-bit samples, big-endian, whose low bytes are noise: uint8 [h, bytes a row]."""
    low = np.random.default_rng(0).integers(0, 256, pixels.shape, np.uint8)
    return np.stack([pixels, low], axis=-1).reshape(len(pixels), -1)


def few_bits(depth: int) -> Kind:
    """A grey PNG of so few bits, one of whose shades is transparent."""
    values = scene(1)[..., 0] >> (8 - depth)
    bits = np.unpackbits(values[..., np.newaxis], axis=-1)[..., 8 - depth :]
    rows = np.packbits(bits.reshape(HEIGHT, -1), axis=1)
    key = int(values[40, 40])
    grey = values[..., np.newaxis] * (255 // (2**depth - 1))
    file = png(rows, depth, 0, chunk(b"tRNS", struct.pack(">H", key)))
    return Kind(file, keyed(grey, values == key), lost=DECODED)


def wide_grey_with_key() -> Kind:
    values = scene(1)[..., 0].astype(np.uint16) * 257
    key = int(values[40, 40])
    rows = values.astype(">u2").view(np.uint8).reshape(HEIGHT, -1)
    file = png(rows, 16, 0, chunk(b"tRNS", struct.pack(">H", key)))
    return Kind(file, keyed(scene(1), values == key))


def exif(orientation: int) -> bytes:
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    return struct.pack(">2sHIH", b"MM", 42, 8, 1) + entry + bytes(4)


TURNS = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: p.transpose(1, 0, 2)[:, ::-1],
    7: lambda p: p.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda p: p.transpose(1, 0, 2)[::-1],
}
"""What EXIF says of each number: how the stored rows and columns become what is shown."""


def oriented() -> dict[str, Kind]:
    kinds = {}
    for number, turn in TURNS.items():
        shown = Image.fromarray(np.ascontiguousarray(turn(scene())))
        block = exif(number)
        kinds[f"jpeg orientation {number}"] = Kind(
            encoded(picture(), "JPEG", quality=95, exif=b"Exif\0\0" + block), shown
        )
        kinds[f"png orientation {number}"] = Kind(encoded(picture(), "PNG", exif=block), shown)
        kinds[f"webp orientation {number}"] = Kind(
            encoded(picture(), "WEBP", lossless=True, exif=block), shown
        )
    return kinds


def segment(jpeg: bytes, marker: int, content: bytes) -> bytes:
    """The JPEG with a segment after its first one."""
    end = 4 + struct.unpack(">H", jpeg[4:6])[0]
    return jpeg[:end] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + jpeg[end:]


def without_segment(jpeg: bytes, marker: int) -> bytes:
    start = jpeg.index(bytes([0xFF, marker]))
    return jpeg[:start] + jpeg[start + 2 + struct.unpack(">H", jpeg[start + 2 : start + 4])[0] :]


def inks() -> dict[str, Kind]:
    cmyk = picture().convert("CMYK")
    adobe = encoded(cmyk, "JPEG", quality=95)
    flag = adobe.index(b"Adobe") + 11
    # The same numbers, said to be YCC and K: Pillow's decoder and a hand-made table agree on them.
    y, cb, cr, k = cmyk.split()
    plain = without_segment(encoded(ImageChops.invert(cmyk), "JPEG", quality=95), 0xEE)
    ycck_inks = Image.merge("YCbCr", [ImageChops.invert(part) for part in (y, cb, cr)])
    light = np.asarray(ycck_inks.convert("RGB"), np.float64)
    black = 255 - np.asarray(k, np.float64)[..., np.newaxis]
    ycck_shown = Image.fromarray((light * black / 255).round().astype(np.uint8))
    ycck = adobe[:flag] + b"\2" + adobe[flag + 1 :]
    return {
        "cmyk, adobe": Kind(adobe, picture(), lossy=2.0),
        "cmyk, not inverted": Kind(plain, picture(), lossy=2.0),
        "ycck": Kind(ycck, Image.fromarray(255 - np.asarray(ycck_shown)), lossy=255.0),
    }


def frames(count: int = 3) -> list[Image.Image]:
    return [picture().rotate(90 * turns).resize((WIDTH, HEIGHT)) for turns in range(count)]


def gif_in_a_corner() -> Kind:
    """A GIF whose first frame covers a part of the canvas."""
    part = picture().resize((60, 48)).quantize(64)
    data = encoded(part, "GIF")
    frame = data.index(b",", 13 + 3 * 2 ** (1 + data[10] % 8))
    data = data[:6] + struct.pack("<HH", WIDTH, HEIGHT) + data[10:frame] + b","
    data += struct.pack("<HH", 24, 16) + encoded(part, "GIF")[frame + 5 :]
    shown = Image.new("RGB", (WIDTH, HEIGHT), "white")
    shown.paste(part.convert("RGB"), (24, 16))
    return Kind(data, shown, lost=DECODED)


def webp_in_a_corner() -> Kind:
    """An animated WebP without alpha whose first frame covers a part of the canvas."""
    part = picture().resize((60, 48))
    still = encoded(part, "WEBP", lossless=True)[12:]

    def three(number: int) -> bytes:
        return struct.pack("<I", number)[:3]

    def part_of(name: bytes, content: bytes) -> bytes:
        return name + struct.pack("<I", len(content)) + content

    place = three(24 // 2) + three(16 // 2) + three(60 - 1) + three(48 - 1)
    body = part_of(b"VP8X", b"\2\0\0\0" + three(WIDTH - 1) + three(HEIGHT - 1))
    body += part_of(b"ANIM", bytes(6)) + part_of(b"ANMF", place + three(100) + b"\2" + still)
    shown = Image.new("RGB", (WIDTH, HEIGHT), "white")
    shown.paste(part, (24, 16))
    return Kind(part_of(b"RIFF", b"WEBP" + body), shown, lost=OPENED)


def many_pictures() -> dict[str, Kind]:
    all_of_them = {"save_all": True, "append_images": frames()[1:]}
    palette = [frame.quantize(128) for frame in frames()]
    gif = encoded(palette[0], "GIF", save_all=True, append_images=palette[1:])
    long_gif = encoded(palette[0], "GIF", save_all=True, append_images=palette[1:] * 150)
    second_first = encoded(frames()[1], "PNG", **all_of_them, default_image=True)
    return {
        "gif of 3": Kind(gif, palette[0].convert("RGB")),
        "gif of 301": Kind(long_gif, palette[0].convert("RGB")),
        "gif in a corner": gif_in_a_corner(),
        "webp in a corner": webp_in_a_corner(),
        "webp of 3": Kind(encoded(frames()[0], "WEBP", lossless=True, **all_of_them), picture()),
        "apng of 3": Kind(encoded(frames()[0], "PNG", **all_of_them), picture()),
        "apng with a picture of its own": Kind(second_first, frames()[1]),
        "mpo": Kind(encoded(frames()[0], "MPO", quality=95, **all_of_them), picture()),
    }


def trailing() -> dict[str, Kind]:
    junk = b"\0" * 100 + bytes(range(256)) + b"\xff\xda more"
    kinds = {}
    for format in ("JPEG", "PNG", "BMP", "WEBP"):
        options = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(format, {})
        file = encoded(picture(), format, **options) + junk
        kinds[f"{format.lower()} and other data"] = Kind(file, picture())
    palette = picture().quantize(128)
    kinds["gif and other data"] = Kind(encoded(palette, "GIF") + junk, palette.convert("RGB"))
    return kinds


def ends() -> dict[str, Kind]:
    jpeg = encoded(picture(), "JPEG", quality=95)
    progressive = encoded(picture(), "JPEG", quality=95, progressive=True)
    palette = picture().quantize(64)
    return {
        "jpeg without end marker": Kind(jpeg[:-2], picture(), lost=DECODED),
        "jpeg with half of it": Kind(jpeg[:-1], picture(), lost=DECODED),
        "progressive without end marker": Kind(progressive[:-2], picture(), lost=DECODED),
        "png without end": Kind(encoded(picture(), "PNG")[:-12], picture()),
        "gif without end": Kind(encoded(palette, "GIF")[:-2], palette.convert("RGB")),
    }


def profiled() -> dict[str, Kind]:
    """Files with a colour profile, which nothing applies, and with much else beside the pixels."""
    profile = b"\0\0\2\x0cnone" + b"\2\x10\0\0mntrRGB XYZ " + bytes(500)
    jpeg = encoded(picture(), "JPEG", quality=95)
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="6"/>'
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(3_000_000)))
    large = chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(3_000_000)))
    rows = scene().reshape(HEIGHT, -1)
    return {
        "jpeg with profile": Kind(
            encoded(picture(), "JPEG", quality=95, icc_profile=profile), picture()
        ),
        "png with profile": Kind(encoded(picture(), "PNG", icc_profile=profile), picture()),
        "webp with profile": Kind(
            encoded(picture(), "WEBP", lossless=True, icc_profile=profile), picture()
        ),
        "jpeg turned by xmp alone": Kind(segment(jpeg, 0xE1, xmp), picture(), lost=DECODED),
        "png with 3 MB of text": Kind(png(rows, 8, 2, text), picture(), lost=OPENED),
        "png with 3 MB of profile": Kind(png(rows, 8, 2, large), picture(), lost=OPENED),
        "png with a broken comment": Kind(
            png(rows, 8, 2, chunk(b"tEXt", b"a\0b")[:-1] + b"\0"), picture(), lost=OPENED
        ),
    }


def transparent() -> dict[str, Kind]:
    palette = picture().quantize(64)
    palette.info["transparency"] = bytes([255] * 20 + [0, 40, 200])
    shade = picture(1).getpixel((40, 40))
    color = picture().getpixel((40, 40))
    is_color = np.all(scene() == color, axis=-1)
    gif = picture().quantize(64)
    index = gif.getpixel((40, 40))
    hole = keyed(np.asarray(gif.convert("RGB")), np.asarray(gif) == index)
    both = np.stack([scene(4)[..., 0], scene(4)[..., 3]], axis=-1)
    return {
        "palette, transparent png": Kind(
            encoded(palette, "PNG", transparency=palette.info["transparency"]), over_white(palette)
        ),
        "palette, transparent gif": Kind(encoded(gif, "GIF", transparency=index), hole),
        "grey with a transparent shade": Kind(
            encoded(picture(1), "PNG", transparency=shade),
            keyed(scene(1), scene(1)[..., 0] == shade),
        ),
        "rgb with a transparent colour": Kind(
            encoded(picture(), "PNG", transparency=color), keyed(scene(), is_color)
        ),
        "grey and alpha": Kind(
            encoded(Image.fromarray(both), "PNG"), over_white(Image.fromarray(both))
        ),
        "rgba png": Kind(encoded(picture(4), "PNG"), over_white(picture(4))),
        "rgba webp": Kind(
            encoded(picture(4), "WEBP", lossless=True, exact=True), over_white(picture(4))
        ),
        "16 bits, grey and alpha": Kind(png(wide(both), 16, 4), over_white(Image.fromarray(both))),
        "16 bits, rgba": Kind(png(wide(scene(4)), 16, 6), over_white(picture(4))),
        "16 bits, grey with a transparent shade": wide_grey_with_key(),
        **{f"{depth} bits with a transparent shade": few_bits(depth) for depth in (1, 2, 4)},
    }


def plain() -> dict[str, Kind]:
    grey, rgb = picture(1), picture()
    dots = grey.convert("1", dither=Image.Dither.NONE)
    deep = Image.fromarray(scene(1)[..., 0].astype(np.uint16) * 257)
    palette = rgb.quantize(64)
    kinds = {
        "grey": Kind(encoded(grey, "PNG"), grey.convert("RGB")),
        "rgb": Kind(encoded(rgb, "PNG"), rgb),
        "bmp": Kind(encoded(rgb, "BMP"), rgb),
        "webp": Kind(encoded(rgb, "WEBP", quality=95), rgb, lossy=2.0),
        "jpeg": Kind(encoded(rgb, "JPEG", quality=95), rgb),
        "grey jpeg": Kind(encoded(grey, "JPEG", quality=95), grey.convert("RGB")),
        "progressive": Kind(encoded(rgb, "JPEG", quality=95, progressive=True), rgb),
        "16 bits, grey": Kind(encoded(deep, "PNG"), grey.convert("RGB")),
        "16 bits, grey, noise below": Kind(png(wide(scene(1)), 16, 0), grey.convert("RGB")),
        "16 bits, rgb": Kind(png(wide(scene()), 16, 2), rgb),
        "1 bit": Kind(encoded(dots, "PNG"), dots.convert("RGB")),
        "1 bit gif": Kind(encoded(dots, "GIF"), dots.convert("RGB")),
        "palette png": Kind(encoded(palette, "PNG"), palette.convert("RGB")),
        "palette gif": Kind(encoded(palette, "GIF"), palette.convert("RGB")),
        "palette bmp": Kind(encoded(palette, "BMP"), palette.convert("RGB")),
    }
    return kinds


KINDS = {
    **plain(),
    **transparent(),
    **inks(),
    **oriented(),
    **profiled(),
    **trailing(),
    **many_pictures(),
    **ends(),
}


@functools.cache
def row_decoder() -> Callable[[tf.Tensor], image.DecodedImages]:
    """The graph that is served."""
    decode = functools.partial(image.decode_rows, image_size=SIZE)
    return tf.function(decode, input_signature=[tf.TensorSpec([None], tf.string)])


def answers(files: Sequence[bytes]) -> tuple[np.ndarray, list[str]]:
    """What the model sees of files, float32 [B, SIZE, SIZE, 3], and the errors in its place."""
    images, error = row_decoder()(tf.constant(files, tf.string))
    return images.numpy(), [text.decode() for text in error.numpy()]


@functools.cache
def seen() -> np.ndarray:
    """What the model sees of each of KINDS, float32 [B, SIZE, SIZE, 3]."""
    images, error = answers([kind.file for kind in KINDS.values()])
    assert not any(error), dict(zip(KINDS, error, strict=True))
    return images


def differences(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Mean difference in levels of each row of images, [B]."""
    return np.abs(first - second).mean(axis=(1, 2, 3))


def _prepared(file: bytes, folder: Path) -> bytes:
    assert image.check(file) == ""
    return file


def _decoded(file: bytes, folder: Path) -> bytes:
    opened = Image.open(io.BytesIO(file))
    opened.load()
    return encode(opened)


def _heatmap(file: bytes, folder: Path) -> bytes:
    path = folder / "heatmap.png"
    _write_heatmap(str(path), file, Caption("word", 0.0, (1,), (0.0,), ((1.0,) * 4,)))
    with Image.open(path) as sheet:
        # Two panels side by side, a margin of 8 pixels around each, 26 for the word and the legend.
        width, height = (sheet.width - 8) // 2 - 8, sheet.height - 2 * 26 - 16
        return encoded(sheet.crop((8, 8, 8 + width, 8 + height)), "PNG")


def _card(file: bytes, folder: Path) -> bytes:
    caption = Caption("word", 0.0, (1,), (0.0,), ((1.0,) * 4,))
    card = card_html("key", "name", make_thumbnails(file).card, caption)
    return base64.b64decode(card.partition("data:image/jpeg;base64,")[2].partition('"')[0])


def _demo(file: bytes, folder: Path) -> bytes:
    (folder / "photo").write_bytes(file)
    answer = {"image": str(folder / "photo"), "caption": ""}
    draw_captions(folder / "sheet.png", [answer], [True])
    with Image.open(folder / "sheet.png") as sheet:
        tile = np.asarray(sheet.convert("RGB"))[:240, :240]
    # A tile of 240 pixels with 8 of margin; the longer side of a photo fills it.
    with Image.open(io.BytesIO(make_thumbnails(file).cell)) as photo:
        upright = photo.height > photo.width
    short = round(224 * HEIGHT / WIDTH)
    first = (240 - short) // 2
    whole, part = slice(8, 232), slice(first, first + short)
    return encoded(Image.fromarray(tile[(whole, part) if upright else (part, whole)]), "PNG")


PLACES: dict[str, Callable[[bytes, Path], bytes]] = {
    "prepare": _prepared,
    "sent": lambda file, folder: encode(file),
    "sent, --max_side": lambda file, folder: encode(file, MAX_SIDE),
    "sent, opened by Pillow": lambda file, folder: encode(Image.open(io.BytesIO(file))),
    "sent, decoded by Pillow": _decoded,
    "page": lambda file, folder: make_thumbnails(file).card,
    "page's card": _card,
    "contact sheet": lambda file, folder: contact_sheet.make_thumbnail(file),
    "heat map": _heatmap,
    "demo's picture": _demo,
}


def test_the_graph_sees_what_is_shown() -> None:
    shown, _ = answers([encoded(kind.shown, "PNG") for kind in KINDS.values()])
    found = differences(seen(), shown)
    assert not {
        name: round(float(levels), 2)
        for (name, kind), levels in zip(KINDS.items(), found, strict=True)
        if levels > kind.lossy
    }


@pytest.mark.parametrize("place", PLACES)
def test_every_place_shows_what_the_graph_sees(place: str, tmp_path: Path) -> None:
    files, wrong = [], {}
    for name, kind in KINDS.items():
        try:
            told = PLACES[place](kind.file, tmp_path) if place not in kind.lost else kind.file
        except Exception as error:
            wrong[name], told = f"{type(error).__name__}: {error}", kind.file
        files.append(told)
    images, errors = answers(files)
    wrong |= {name: error for name, error in zip(KINDS, errors, strict=True) if error}
    found = zip(KINDS, differences(images, seen()), strict=True)
    wrong |= {name: f"{levels:.2f} levels" for name, levels in found if levels > LEVELS}
    assert not wrong
