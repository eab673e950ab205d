"""A model's attention drawn over the photograph, for the page and the command line."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont, ImageOps

from serving.client.answers import Caption

# Sizes of the sheet: longer side of a panel, height of its label and margin in pixels.
PANEL = 224
LABEL = 26
MARGIN = 8
COLUMNS = 5


def shade(photo: Image.Image, weights: Sequence[float]) -> Image.Image:
    """Darkens a photo except where the weights are high.

    Args:
        photo: an RGB image.
        weights: of L positions in a square grid, row by row, at least 0.

    Returns:
        An RGB image of the photo's size.
    """
    side = math.isqrt(len(weights))
    peak = max(weights) or 1.0
    grid = Image.new("L", (side, side))
    grid.putdata([round(255 * max(0.0, weight) / peak) for weight in weights[: side * side]])
    light = grid.resize(photo.size, Image.Resampling.BICUBIC)
    dark = Image.blend(photo, Image.new("RGB", photo.size), 0.8)
    return Image.composite(photo, dark, light)


def draw_heatmap(photo: Image.Image, caption: Caption) -> Image.Image:
    """Draws one panel a word: the photo, lit where the model looked for the word.

    Args:
        photo: the image that was captioned, RGB and upright.
        caption: a caption with attention.

    Returns:
        An RGB image; its first panel is the photo as it is.
    """
    # The model sees the whole picture as a square, so its grid is stretched with the picture.
    small = ImageOps.contain(photo, (PANEL, PANEL))
    panels = [("", small), *((word, shade(small, weights)) for word, weights in caption.attended)]
    columns, rows = min(COLUMNS, len(panels)), -(-len(panels) // COLUMNS)
    width, height = small.width + MARGIN, small.height + LABEL + MARGIN
    sheet = Image.new("RGB", (columns * width + MARGIN, rows * height + MARGIN), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(18)
    for number, (word, panel) in enumerate(panels):
        left, top = MARGIN + number % COLUMNS * width, MARGIN + number // COLUMNS * height
        sheet.paste(panel, (left, top))
        pen.text((left + 2, top + panel.height + 2), word, "black", font)
    return sheet
