"""Image files on their way to the server."""

import io

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


def test_pillow_image_in_lab_is_refused_by_name():
    with pytest.raises(ValueError, match="a picture in LAB cannot be read: convert it to RGB"):
        images.read_image(Image.new("LAB", (4, 4)))


def test_pillow_image_is_sent_upright():
    photo = Image.new("RGB", (8, 4), "navy")
    photo.getexif()[0x0112] = 6
    sent = Image.open(io.BytesIO(images.read_image(photo)))
    assert sent.size == (4, 8) and 0x0112 not in sent.getexif()


def test_opened_pillow_image_is_sent_as_its_file(tmp_path):
    path = tmp_path / "photo.jpg"
    Image.effect_noise((40, 30), 80).convert("RGB").save(path, quality=80)
    with Image.open(path) as opened:
        assert images.read_image(opened) == path.read_bytes()
        assert opened.convert("RGB").size == (40, 30)  # it still decodes


def test_changed_pillow_image_is_sent_as_it_is(tmp_path):
    path = tmp_path / "photo.png"
    Image.new("RGB", (40, 30), "navy").save(path)
    painted, small, hinted = (Image.open(io.BytesIO(path.read_bytes())) for _ in range(3))
    painted.paste("white", (0, 0, 40, 30))
    small = small.resize((8, 6))
    hinted.info["transparency"] = (0, 0, 128)
    for image, size in ((painted, (40, 30)), (small, (8, 6)), (hinted, (40, 30))):
        sent = images.read_image(image)
        assert sent != path.read_bytes()
        assert Image.open(io.BytesIO(sent)).size == size
    assert Image.open(io.BytesIO(images.read_image(painted))).getpixel((5, 5)) == (255, 255, 255)
