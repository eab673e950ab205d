"""Pillow's pixels of any mode to RGB over white, as the graph makes them."""

import numpy as np
from PIL import Image, ImageChops

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def to_rgb(image: Image.Image) -> Image.Image:
    """Makes a decoded picture RGB, transparent pixels over white; its profile is ignored.

    Args:
        image: of any mode but LAB. Of 16 bits the high ones are taken, of floats those in 0..255.

    Returns:
        An RGB image, as large.

    Raises:
        ValueError: the mode is LAB.
    """
    if image.mode == "LAB":
        raise ValueError("a picture in LAB cannot be read: convert it to RGB")
    if image.mode.startswith("I"):
        image = _high_bytes(image)
    if image.mode == "F":
        image = image.convert("L")
    if image.mode == "CMYK" and image.format in ("JPEG", "MPO") and "adobe" not in image.info:
        # Pillow takes the ink of every JPEG for inverted, which only Adobe's are.
        image = ImageChops.invert(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    """Turns and mirrors a picture by its EXIF orientation, 1 to 8; others leave it as it is."""
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _high_bytes(image: Image.Image) -> Image.Image:
    """Makes grey of 16 bits or more grey of 8 bits, with alpha if one value is transparent.

    Pillow's own conversion clips, so that nearly everything turns white.
    """
    values = np.asarray(image)
    grey = Image.fromarray((np.clip(values, 0, 65535) // 256).astype(np.uint8))
    key = image.info.get("transparency")
    if not isinstance(key, int):
        return grey
    alpha = Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8))
    return Image.merge("LA", (grey, alpha))
