"""A model's attention as colours over the photograph: the one way that attention is drawn."""

import functools
import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

OVERLAY_SIDE = 56
"""Pixels of an overlay's side: browsers stretch it to the photo, and it has no finer detail."""

_LEVELS = 64
"""Steps from nothing to the most: more look the same, and make the file larger."""

_MAX_OPACITY = 0.75
"""Of the brightest place: the photo below is still to be recognised."""

_GREY = 128
"""The grey of a legend's ground: it stands out from a white page and from a black one."""

_EVEN = 1e-3
"""Attention whose peak is above its mean by less than this share is even: it has no bright place.
Without that, rounding errors of even attention would be stretched to the full range.
"""

# 33 of the 256 colours of matplotlib's "viridis" (lib/matplotlib/_cm_listed.py, by Nathaniel Smith
# and Stéfan van der Walt, CC0), evenly spaced: equal steps look equal, to the colour-blind too.
_VIRIDIS = np.frombuffer(
    bytes.fromhex(
        "440154 470d60 48186a 482374 472d7b 453781 424086 3e4989 3b528b 375b8d 33638d "
        "2f6b8e 2c728e 297a8e 26828e 23898e 21918c 1f978b 1f9f88 21a685 27ad81 31b57b "
        "3dbc74 4cc26c 5cc863 6ece58 81d34d 95d840 aadc32 c0df25 d5e21a eae51a fde725"
    ),
    np.uint8,
).reshape(-1, 3)


def viridis(level: float) -> tuple[int, int, int]:
    """Red, green and blue of a level in the colour map "viridis".

    Args:
        level: from 0, dark violet, to 1, bright yellow.
    """
    places = np.linspace(0, 1, len(_VIRIDIS))
    red, green, blue = (round(np.interp(level, places, _VIRIDIS[:, band])) for band in range(3))
    return red, green, blue


def opacity(level: float) -> float:
    """How much of the photo's colour a level replaces, in [0, 1].

    Args:
        level: from 0 to 1.
    """
    return _MAX_OPACITY * level


def blend_level(level: float) -> tuple[int, int, int]:
    """Red, green and blue of a level over medium grey, as a legend shows it.

    Args:
        level: from 0 to 1.
    """
    share = opacity(level)
    red, green, blue = (round(_GREY + share * (band - _GREY)) for band in viridis(level))
    return red, green, blue


def draw_overlay(weights: Sequence[float], side: int = OVERLAY_SIDE) -> bytes:
    """Makes a picture to lay over a photo, stretched to its size, that shows attention.

    What gets no more attention than the mean is transparent; the more, the brighter and the less
    transparent. The model sees the whole photo as a square, so its grid is stretched with it.

    Args:
        weights: of L positions in a square grid, row by row; what is negative or no finite number
            counts as 0.
        side: pixels of its width and height.

    Returns:
        A small PNG with a palette and transparency.

    Raises:
        ValueError: the positions make no square grid.
    """
    buffer = io.BytesIO()
    _paint(weights, (side, side)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def blend_overlay(photo: Image.Image, weights: Sequence[float]) -> Image.Image:
    """Lays the attention over a photo.

    Args:
        photo: an RGB image.
        weights: as in `draw_overlay`.

    Returns:
        An RGB image of the photo's size.

    Raises:
        ValueError: the positions make no square grid.
    """
    colours = _paint(weights, photo.size).convert("RGBA")
    return Image.alpha_composite(photo.convert("RGBA"), colours).convert("RGB")


def levels(weights: Sequence[float]) -> np.ndarray:
    """How far each position's attention is above the mean, as a share of how far the most is.

    Args:
        weights: as in `draw_overlay`.

    Returns:
        float64 [side, side] in [0, 1]: all 0 if the attention is even.

    Raises:
        ValueError: the positions make no square grid.
    """
    side = math.isqrt(len(weights))
    if not side or side * side != len(weights):
        raise ValueError(f"attention of {len(weights)} positions is not that of a square grid")
    grid = np.array(weights, float).reshape(side, side)
    grid = np.where(np.isfinite(grid), grid, 0.0).clip(min=0.0)
    peak = grid.max()
    if not peak:
        return grid
    grid /= peak  # first, so that no sum of huge weights overflows
    mean = grid.mean()
    if 1 - mean < _EVEN:
        return np.zeros_like(grid)
    return ((grid - mean) / (1 - mean)).clip(0.0, 1.0)


def _paint(weights: Sequence[float], size: tuple[int, int]) -> Image.Image:
    """The overlay in a size (width, height): an image of palette indices, from 0 to the most."""
    grid = Image.fromarray(levels(weights).astype(np.float32))
    smooth = np.asarray(grid.resize(size, Image.Resampling.BICUBIC))
    image = Image.fromarray((smooth.clip(0, 1) * (_LEVELS - 1)).round().astype(np.uint8), "P")
    image.putpalette(_palette(), "RGBA")
    return image


@functools.cache
def _palette() -> bytes:
    """Red, green, blue and opacity of each step, a byte each."""
    shares = [index / (_LEVELS - 1) for index in range(_LEVELS)]
    return bytes(
        band for share in shares for band in (*viridis(share), round(255 * opacity(share)))
    )
