"""Image files on their way to the server."""

import io
import struct
import zlib

import pytest
from PIL import Image

from serving.client import images


def encoded(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def test_files_folders_and_globs(tmp_path):
    for name in ("b.JPG", "a.png", "notes.txt", "deep/c.webp", "deep/d.gif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def found(*arguments):
        return [
            path.replace(f"{tmp_path}/", "") for path in images.find_images(map(str, arguments))
        ]

    assert found(tmp_path) == ["a.png", "b.JPG", "deep/c.webp", "deep/d.gif"]
    assert found(tmp_path / "*.png", tmp_path / "notes.txt") == ["a.png", "notes.txt"]
    assert found(tmp_path / "**/*.gif") == ["deep/d.gif"]
    assert found(tmp_path / "none.jpg", tmp_path / "*.bmp") == ["none.jpg", "*.bmp"]
    assert list(images.find_images([])) == []


def test_file_whose_name_looks_like_a_glob(tmp_path):
    (tmp_path / "photo[1].jpg").touch()
    assert list(images.find_images([str(tmp_path / "photo[1].jpg")])) == [
        str(tmp_path / "photo[1].jpg")
    ]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
def test_pillow_images_of_every_mode_become_a_file(mode):
    image = Image.open(io.BytesIO(images.read_image(Image.new(mode, (5, 4)))))
    assert image.format == "PNG" and image.size == (5, 4)


def test_pillow_image_is_sent_upright():
    photo = Image.new("RGB", (8, 4), "navy")
    photo.getexif()[0x0112] = 6
    sent = Image.open(io.BytesIO(images.read_image(photo)))
    assert sent.size == (4, 8) and 0x0112 not in sent.getexif()


def test_small_image_is_not_touched():
    file_bytes = encoded(Image.new("RGB", (64, 32)), "BMP")
    assert images.shrink(file_bytes, 64) is file_bytes


def test_clear_pixels_turn_white():
    shrunk = images.shrink(encoded(Image.new("RGBA", (64, 32), (0, 0, 0, 0)), "PNG"), 16)
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
    assert images.open_image(png_header(7_000, 7_000)).size == (7_000, 7_000)
    with pytest.raises(ValueError, match="pixels"):
        images.open_image(png_header(side, side))


def test_broken_image_is_named():
    file_bytes = encoded(Image.effect_noise((200, 200), 80), "PNG")
    with pytest.raises(ValueError, match="broken image"):
        images.shrink(file_bytes[: len(file_bytes) // 2], 50)
    with pytest.raises(ValueError, match="not an image"):
        images.shrink(b"", 50)
