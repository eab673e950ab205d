"""Where a model looked for each word of its caption: in pictures and in words."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont, ImageOps

from imgcap.data.pictures import blend_level, blend_overlay, levels
from serving.client.answers import Caption

# Sizes of the sheet: longer side of a panel, height of its label, margin and legend in pixels.
PANEL = 224
LABEL = 26
MARGIN = 8
COLUMNS = 5
LEGEND = (160, 12)

LESS, MOST = "average or less", "most"
"""What the two ends of the legend's colours mean."""

_PLACES = (
    ("at the upper left", "at the top", "at the upper right"),
    ("on the left", "in the middle", "on the right"),
    ("at the lower left", "at the bottom", "at the lower right"),
)
"""Where in a picture its ninths are, row by row."""


def most_peaked(attended: Sequence[tuple[str, Sequence[float]]]) -> int:
    """Which word the model looked for at one place most, the best to show first.

    That is the one whose attention has the least entropy, among those at least as long as the
    caption's mean word: frequent words are short in every language, and "a" or "the" would win in
    half of the captions although there is nothing to see for them.

    Args:
        attended: each word with the weights of L positions, such as `Caption.attended`.

    Returns:
        Its index, of several the first; 0 if there are no words.
    """
    mean = sum(len(word) for word, _ in attended) / max(1, len(attended))
    long = [index for index, (word, _) in enumerate(attended) if len(word) >= mean]
    return min(long, key=lambda index: entropy(attended[index][1]), default=0)


def entropy(weights: Sequence[float]) -> float:
    """The entropy of attention in nats: 0 at one place alone, log L if it is even.

    Args:
        weights: of L positions; they need not sum to 1. What is negative or no finite number counts
            as 0.

    Returns:
        log L too if no weight is left.
    """
    sound = [weight for weight in weights if weight > 0 and math.isfinite(weight)]
    peak = max(sound, default=1.0)
    total = sum(weight / peak for weight in sound)
    shares = [weight / peak / total for weight in sound]
    if not shares:
        return math.log(max(1, len(weights)))
    return -sum(share * math.log(share) for share in shares if share)


def describe_place(weights: Sequence[float]) -> str:
    """Says in words where attention is greatest, for those who do not see the picture.

    Args:
        weights: of L positions in a square grid, row by row.

    Returns:
        Such as "most at the upper left", or "evenly everywhere".

    Raises:
        ValueError: the positions make no square grid.
    """
    grid = levels(weights)
    if not grid.any():
        return "evenly everywhere"
    row, column = (int(3 * (place + 0.5) / len(grid)) for place in divmod(grid.argmax(), len(grid)))
    return f"most {_PLACES[row][column]}"


def draw_heatmap(photo: Image.Image, caption: Caption) -> Image.Image:
    """Draws one panel a word: the photo, coloured where the model looked for the word.

    Args:
        photo: the image that was captioned, RGB and upright.
        caption: a caption with attention.

    Returns:
        An RGB image; its first panel is the photo as it is, and below is a legend.

    Raises:
        ValueError: the caption has no attention, or its positions make no square grid.
    """
    if not caption.attended:
        raise ValueError(
            "the caption has no attention: ask a model that attends, by "
            'CaptionClient(…, signature="decode_details")'
        )
    # The model sees the whole picture as a square, so its grid is stretched with the picture.
    small = ImageOps.contain(photo, (PANEL, PANEL))
    shown = [(word, blend_overlay(small, weights)) for word, weights in caption.attended]
    panels = [("", small), *shown]
    columns, rows = min(COLUMNS, len(panels)), -(-len(panels) // COLUMNS)
    width, height = small.width + MARGIN, small.height + LABEL + MARGIN
    sheet = Image.new("RGB", (columns * width + MARGIN, rows * height + MARGIN + LABEL), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(18)
    for number, (word, panel) in enumerate(panels):
        left, top = MARGIN + number % COLUMNS * width, MARGIN + number // COLUMNS * height
        sheet.paste(panel, (left, top))
        pen.text((left + 2, top + panel.height + 2), word, "black", font)
    _draw_legend(sheet, pen)
    return sheet


def _draw_legend(sheet: Image.Image, pen: ImageDraw.ImageDraw) -> None:
    """Draws what the colours mean into the lower left corner, as they look on a grey photo."""
    font = ImageFont.load_default(14)
    width, height = LEGEND
    left, middle = MARGIN + 2, sheet.height - LABEL // 2 - 2
    pen.text((left, middle), LESS, "black", font, anchor="lm")
    left += round(pen.textlength(LESS, font)) + MARGIN
    for place in range(width):
        line = (left + place, middle - height // 2, left + place, middle + height // 2)
        pen.line(line, blend_level(place / (width - 1)))
    pen.text((left + width + MARGIN, middle), MOST, "black", font, anchor="lm")
