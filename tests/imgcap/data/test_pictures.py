"""Pictures by Pillow: what is refused, and headers as the graph reads them."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from imgcap.data import image
from imgcap.data.image import orientation
from imgcap.data.pictures import encode_jpeg, headers, kinds, load_rgb, open_picture, shrink


def encoded(source: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    source.save(buffer, format, **options)
    return buffer.getvalue()


def test_small_image_is_not_touched():
    file_bytes = encoded(Image.new("RGB", (64, 32)), "BMP")
    assert shrink(file_bytes, 64) is file_bytes


def test_clear_pixels_turn_white():
    shrunk = shrink(encoded(Image.new("RGBA", (64, 32), (0, 0, 0, 0)), "PNG"), 16)
    small = Image.open(io.BytesIO(shrunk))
    assert small.size == (16, 8) and small.getpixel((5, 5)) == (255, 255, 255)


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds no pixel."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + body
        + struct.pack(">I", zlib.crc32(body))
        + b"\0\0\0\x64IDAT"
    )


@pytest.mark.parametrize(
    "side", [7_100, 9_500, 30_000]
)  # above our limit; Pillow's first; Pillow's second
def test_bomb_is_refused_before_it_is_decoded(side):
    assert open_picture(png_header(7_000, 7_000)).size == (7_000, 7_000)
    with pytest.raises(ValueError, match="pixels"):
        open_picture(png_header(side, side))


def test_broken_image_is_named():
    file_bytes = encoded(Image.effect_noise((200, 200), 80), "PNG")
    with pytest.raises(ValueError, match="broken image"):
        shrink(file_bytes[: len(file_bytes) // 2], 50)
    with pytest.raises(ValueError, match="not an image"):
        shrink(b"", 50)


FOREIGN = {
    "TIFF": encoded(Image.new("RGB", (8, 6)), "TIFF"),
    "TIFF, LAB": encoded(Image.new("LAB", (8, 6)), "TIFF"),
    "TIFF, float": encoded(Image.new("F", (8, 6)), "TIFF"),
    "AVIF": b"\0\0\0\x20ftypavif\0\0\0\0avifmif1" + bytes(100),
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100),
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100),
    "JPEG XL": b"\xff\x0a" + bytes(100),
    "Photoshop": b"8BPS\0\1" + bytes(100),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_pictures_are_refused_by_name_everywhere(name: str) -> None:
    message = f"a {name.partition(',')[0]} picture cannot be read: save it as JPEG or PNG"
    assert image.check(FOREIGN[name]) == message
    with pytest.raises(ValueError) as caught:
        shrink(FOREIGN[name], 4)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "data",
    [b"", b"text", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<!DOCTYPE html>", b"%PDF-1.7"],
)
def test_other_files_are_no_images(data: bytes) -> None:
    assert image.check(data) == kinds.NOT_AN_IMAGE
    with pytest.raises(ValueError) as caught:
        load_rgb(data)
    assert str(caught.value) == kinds.NOT_AN_IMAGE


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP"])
def test_damaged_files_are_called_so(format: str) -> None:
    data = encoded(photo(), format)
    for cut in (data[:12], data[:20], data[: len(data) // 2]):
        assert image.check(cut) == kinds.DAMAGED
        with pytest.raises(ValueError, match="cut off|damaged|broken image"):
            load_rgb(cut)


def test_bmps_that_the_graph_refuses_are_refused() -> None:
    data = encoded(Image.new("1", (64, 32)), "BMP")
    assert image.check(data) == kinds.UNSUPPORTED_BMP
    with pytest.raises(ValueError, match="compressed BMP"):
        shrink(data, 8)


def test_jpeg_of_too_many_scans_is_refused() -> None:
    data = encoded(Image.new("RGB", (1200, 1000)), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xc4", 0, data.rindex(b"\xff\xda")) : -2]
    longer = data[:-2] + last * 30 + data[-2:]
    assert open_picture(longer).size == (1200, 1000)
    with pytest.raises(ValueError, match="far too many scans"):
        open_picture(longer, max_pixels=1_200_000)


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


def webp_header(width: int, height: int) -> bytes:
    """An animated WebP that declares a canvas and holds no frame."""
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return b"RIFF\xff\0\0\0WEBPVP8X" + struct.pack("<I", 10) + b"\2\0\0\0" + size + bytes(1000)


def gif_header(width: int, height: int) -> bytes:
    screen = struct.pack("<HH", width, height)
    return b"GIF89a" + screen + b"\x80\0\0" + bytes(6) + b",\0\0\0\0" + screen + b"\0\2\2\x44\1\0;"


def test_bombs_take_no_memory(peak_memory: Callable[[], float]) -> None:
    jpeg = bytearray(encoded(Image.new("RGB", (8, 8)), "JPEG"))
    place = jpeg.index(b"\xff\xc0") + 5
    jpeg[place : place + 4] = struct.pack(">HH", 30_000, 30_000)
    many = png_header(1 << 31, 1)
    for bomb in (png_header(30_000, 30_000), many, webp_header(30_000, 30_000), bytes(jpeg)):
        with pytest.raises(ValueError):
            load_rgb(bomb)
    with pytest.raises(ValueError, match="pixels"):
        load_rgb(gif_header(30_000, 30_000))
    text = zlib.compress(bytes(100_000_000))
    chunks = b"".join(chunk(b"zTXt", b"Comment\0\0" + text) for _ in range(20))
    small = encoded(Image.new("RGB", (8, 8), "red"), "PNG")
    assert load_rgb(small[:33] + chunks + small[33:]).getpixel((3, 3)) == (255, 0, 0)
    assert peak_memory() < 60


def test_only_the_first_frame_of_an_animation_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [Image.new("L", (300, 200), shade) for shade in range(200)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    decoded = []
    load = Image.core.gif_decoder
    monkeypatch.setattr(Image.core, "gif_decoder", lambda *args: decoded.append(1) or load(*args))
    assert load_rgb(data).getpixel((5, 5)) == (0, 0, 0)
    assert len(decoded) == 1


def chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


# Headers, against the graph.


def exif(number: int, order: str = ">") -> bytes:
    name = b"MM" if order == ">" else b"II"
    entries = struct.pack(order + "HHIHH", 0x0100, 3, 1, 7, 0)
    entries += struct.pack(order + "HHIHH", 0x0112, 3, 1, number, 0)
    return struct.pack(order + "2sHIH", name, 42, 8, 2) + entries + bytes(4)


def test_orientation_of_mangled_files_is_the_graphs() -> None:
    """Files with random bytes changed in their headers: Python and the graph read the same."""
    readers = {
        "JPEG": tf.function(orientation.jpeg_orientation),
        "PNG": tf.function(orientation.png_orientation),
        "WEBP": tf.function(orientation.webp_orientation),
    }
    rng = np.random.default_rng(0)
    small, turned = Image.new("RGB", (4, 4)), 0
    for format, reader in readers.items():
        for number in range(400):
            block = exif(number % 8 + 1, "<>"[number % 2])
            data = bytearray(
                encoded(small, format, exif=b"Exif\0\0" + block if format == "JPEG" else block)
            )
            start = data.index(block)
            for place in rng.integers(start - 12, start + len(block), number % 4):
                data[place] = rng.choice([0, 1, 8, 42, 255, rng.integers(256)])
            if number % 7 == 0:
                del data[start + int(rng.integers(len(block))) :]
            found = headers.read_orientation(bytes(data))
            assert found == int(reader(tf.constant(bytes(data))))
            turned += found > 1
    assert 400 < turned < 1200


# Files without their end.


def photo() -> Image.Image:
    y, x = np.mgrid[:160, :128]
    pixels = np.stack([128 + 70 * np.sin(x / (5 + c)) + 50 * np.cos(y / 7) for c in range(3)], -1)
    noise = np.random.default_rng(0).normal(0, 8, pixels.shape)
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


def test_a_cut_off_jpeg_is_left_to_the_server() -> None:
    data = encoded(photo(), "JPEG")
    for cut in (data[:-2], data[:-1], data[: len(data) // 2]):
        assert shrink(cut, 32) == cut
    assert len(shrink(data, 32)) < len(data) // 2


def test_a_cut_off_jpeg_is_shown_as_far_as_it_goes() -> None:
    data = encoded(photo(), "JPEG", quality=95)
    whole = np.asarray(load_rgb(data))
    np.testing.assert_array_equal(load_rgb(data[:-2]), whole)
    with pytest.raises(ValueError, match="cut off or damaged"):
        load_rgb(data[: len(data) // 2])
    half = np.asarray(load_rgb(data[: len(data) // 2], in_part=True))
    np.testing.assert_array_equal(half[:48], whole[:48])
    assert np.all(half[-16:] == 128)
    assert encode_jpeg(load_rgb(data[: len(data) // 2], 64, in_part=True), 80).startswith(
        kinds.JPEG_MAGIC
    )
