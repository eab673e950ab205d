"""Attention as colours over a photo: levels, colours and opacity worked out by hand."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from imgcap.data.pictures import blend_level, blend_overlay, draw_overlay, levels
from imgcap.data.pictures.overlay import OVERLAY_SIDE, opacity, viridis


def drawn(weights, **arguments) -> np.ndarray:
    """The overlay's pixels: red, green, blue and opacity."""
    picture = Image.open(io.BytesIO(draw_overlay(weights, **arguments)))
    assert picture.format == "PNG" and picture.mode == "P"
    return np.asarray(picture.convert("RGBA")).astype(int)


def test_colours_are_those_of_viridis():
    matplotlib = pytest.importorskip("matplotlib")
    shares = np.linspace(0, 1, 256)
    official = 255 * matplotlib.colormaps["viridis"](shares)[:, :3]
    assert np.abs([viridis(share) for share in shares] - official).max() <= 2
    assert (viridis(0.0), viridis(1.0)) == ((68, 1, 84), (253, 231, 37))


def test_levels_are_shares_of_what_is_above_the_mean():
    # The mean is 2, and the most is 4 above it.
    assert levels((0, 1, 6, 1)).tolist() == [[0, 0], [1, 0]]
    expected = np.array([[0, 0.5, 1], [0, 0, 0], [0.25, 0, 0]])
    assert levels((0, 4, 6, 2, 2, 1, 3, 0, 0)) == pytest.approx(expected)


def test_a_corner_lights_up():
    pixels = drawn((0.0, 0.0, 0.7, 0.0))
    assert pixels.shape == (OVERLAY_SIDE, OVERLAY_SIDE, 4)
    assert pixels[-1, 0].tolist() == [253, 231, 37, 191]  # the brightest, three quarters opaque
    assert pixels[0, 0, 3] == pixels[-1, -1, 3] == 0
    assert pixels[0, -1, 3] <= 3  # of 255: smoothing by cubics swings that far


def test_more_attention_is_brighter_and_less_transparent():
    ramp = [float(column) for _ in range(7) for column in range(7)]
    middle = drawn(ramp)[OVERLAY_SIDE // 2]
    seen = middle[middle[:, 3] > 0]
    brightness = seen[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(middle[:, 3]) >= 0).all() and (np.diff(brightness) >= 0).all()
    assert len(np.unique(seen[:, 3])) > 10 and middle[0, 3] == 0
    assert [opacity(share) for share in (0.0, 0.5, 1.0)] == [0.0, 0.375, 0.75]


def test_even_attention_leaves_the_photo_as_it_is():
    for even in ([0.25] * 4, [0.0] * 4, [1.0], [0.1 + 1e-9 * place for place in range(49)]):
        assert not drawn(even)[..., 3].any()
    photo = Image.effect_noise((30, 20), 60).convert("RGB")
    assert blend_overlay(photo, [0.25] * 4) == photo


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, -1.0])
def test_a_weight_that_is_none_counts_as_0(odd):
    assert (drawn((odd, 0.2, 0.8, 0.0)) == drawn((0.0, 0.2, 0.8, 0.0))).all()


def test_huge_and_tiny_weights_are_drawn_as_others():
    usual = drawn((0.0, 1.0, 3.0, 0.0))
    assert (drawn((0.0, 5e307, 1.5e308, 0.0)) == usual).all()
    assert (drawn((0.0, 1e-300, 3e-300, 0.0)) == usual).all()


@pytest.mark.parametrize("count", [0, 2, 24, 50])
def test_positions_that_make_no_square_are_refused(count):
    message = f"attention of {count} positions is not that of a square grid"
    with pytest.raises(ValueError, match=message):
        draw_overlay([0.1] * count)
    with pytest.raises(ValueError, match=message):
        blend_overlay(Image.new("RGB", (8, 8)), [0.1] * count)


def test_an_overlay_is_small():
    noise = np.random.default_rng(0).random(196)
    assert len(draw_overlay(noise.tolist())) < 3500
    assert drawn(noise.tolist(), side=20).shape == (20, 20, 4)


def test_a_photo_shines_through():
    # Of 4 pixels one gets the overlay's brightest: a quarter of 100 and 3 of (253, 231, 37).
    photo = Image.new("RGB", (2, 2), (100, 100, 100))
    blended = np.asarray(blend_overlay(photo, (0.0, 0.0, 0.7, 0.0)))
    assert np.abs(blended[1, 0] - np.array([214.75, 198.25, 52.75])).max() <= 1
    assert np.abs(blended[[0, 0, 1], [0, 1, 1]].astype(int) - 100).max() <= 1


def test_a_legend_shows_the_levels_over_grey():
    assert blend_level(0.0) == (128, 128, 128)
    assert blend_level(1.0) == (222, 205, 60)  # 32 and three quarters of (253, 231, 37)
