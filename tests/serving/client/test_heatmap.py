"""Where a model looked: the word to show first, places in words, and the sheet of panels."""

import math

import numpy as np
import pytest
from PIL import Image

from serving.client import Caption
from serving.client.heatmap import describe_place, draw_heatmap, entropy, most_peaked

EVEN, HALVES, PEAK = (0.25,) * 4, (0.5, 0.5, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0)


def test_entropy_in_nats():
    assert entropy(EVEN) == pytest.approx(math.log(4))
    assert entropy((3.0, 3.0, 0.0, -1.0)) == pytest.approx(math.log(2))  # of shares
    assert entropy(PEAK) == 0
    # No share at all says as little as an even one.
    assert entropy((0.0, math.nan, 0.0, 0.0)) == pytest.approx(math.log(4)) and entropy(()) == 0
    assert entropy((1e308, 1e308, 1e308, 1e-300)) == pytest.approx(math.log(3))


@pytest.mark.parametrize(
    ("attended", "index"),
    [
        # The mean word has 3 letters: "a" is left out, whatever it looks at.
        ([("a", PEAK), ("brown", EVEN), ("dog", HALVES)], 2),
        ([("dog", HALVES), ("cat", HALVES)], 0),  # of equals the first
        ([("狗", EVEN), ("在", PEAK), ("草", HALVES)], 1),
        ([("a", EVEN)], 0),
        ([], 0),
    ],
)
def test_the_most_peaked_of_the_longer_words(attended, index):
    assert most_peaked(attended) == index


def test_places_in_words():
    def at(row, column, side=3):
        weights = [0.01] * side**2
        weights[side * row + column] = 1.0
        return describe_place(weights)

    assert [at(0, column) for column in range(3)] == [
        "most at the upper left",
        "most at the top",
        "most at the upper right",
    ]
    assert (at(1, 0), at(1, 1), at(1, 2)) == (
        "most on the left",
        "most in the middle",
        "most on the right",
    )
    assert (at(2, 0), at(2, 1)) == ("most at the lower left", "most at the bottom")
    assert at(6, 6, side=7) == "most at the lower right" and at(2, 4, 7) == "most in the middle"
    assert describe_place(EVEN) == "evenly everywhere"
    with pytest.raises(ValueError, match="3 positions"):
        describe_place((0.1, 0.2, 0.7))


def test_sheet_has_the_photo_its_words_and_a_legend():
    photo = Image.new("RGB", (448, 224), (100, 100, 100))
    caption = Caption("a dog", -1.0, (5, 6), (), (EVEN, PEAK))
    sheet = np.asarray(draw_heatmap(photo, caption)).astype(int)
    # Panels of 224 x 112, 8 pixels apart, labels of 26 below, and the legend in 26 more.
    assert sheet.shape == (8 + 112 + 26 + 8 + 26, 8 + 3 * (224 + 8), 3)
    first, second, third = (sheet[8:120, 8 + 232 * n : 232 + 232 * n] for n in range(3))
    assert (first == 100).all() and (second == 100).all()  # the photo, and an even word
    assert third[-1, 0].tolist() == [215, 198, 53] and np.abs(third[0] - 100).max() <= 1
    assert (sheet[120:146, 8:232] == 255).all() and (sheet[120:146, 240:464] < 128).any()
    legend = sheet[sheet.shape[0] - 15]
    grey = np.flatnonzero((legend == (128, 128, 128)).all(1))
    bright = np.flatnonzero((legend == (222, 205, 60)).all(1))
    assert len(grey) and len(bright) and grey[0] + 159 == bright[-1]


def test_a_caption_without_attention_is_refused():
    with pytest.raises(ValueError, match="no attention: .* signature=.decode_details"):
        draw_heatmap(Image.new("RGB", (8, 8)), Caption("a dog", -0.5))
