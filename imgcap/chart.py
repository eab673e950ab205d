"""Line charts drawn with Pillow: enough for latency against load and curves of training, and no
plotting library.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 900, 520
LEFT, RIGHT, TOP, BOTTOM = 80, 200, 80, 60  # margins, pixels
SCALE = 2  # drawn so much larger and then reduced: Pillow's lines have no smooth edges
COLOURS = ("#2b6cb0", "#dd8a1e", "#c53030", "#2f855a", "#6b46c1")
INK, GRID = "#333333", "#dddddd"
MOST_DOTS = 40  # a line of more points is drawn without dots, which would hide it


class Line(NamedTuple):
    """A named line.

    Attributes:
        name: for the legend.
        points: (x, y), in the order they are joined.
    """

    name: str
    points: Sequence[tuple[float, float]]


class Chart(NamedTuple):
    """Lines over one pair of axes, which begin at 0.

    Attributes:
        title: above it.
        x_label: below the x axis.
        y_label: above the y axis.
        lines: what to draw; points that are not finite are left out.
    """

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]


def draw_charts(path: str | Path, *charts: Chart) -> None:
    """Writes a picture of charts, one below the other.

    Args:
        path: its ending says the format, such as .png.
        *charts: at least one.
    """
    picture = Image.new("RGB", (WIDTH, HEIGHT * len(charts)), "white")
    for number, chart in enumerate(charts):
        picture.paste(_drawn(chart), (0, HEIGHT * number))
    picture.save(path)


def _drawn(chart: Chart) -> Image.Image:
    lines = [
        Line(line.name, [p for p in line.points if all(map(math.isfinite, p))])
        for line in chart.lines
    ]
    points = [point for line in lines for point in line.points] or [(1.0, 1.0)]
    x_ticks, y_ticks = (ticks(max(point[axis] for point in points)) for axis in (0, 1))
    canvas = _Canvas(x_ticks[-1], y_ticks[-1])
    canvas.axes(x_ticks, y_ticks)
    canvas.text(LEFT, 14, chart.title, 18)
    canvas.text(LEFT - 60, TOP - 30, chart.y_label, 13)
    canvas.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 24, chart.x_label, 13, "mm")
    for number, line in enumerate(lines):
        canvas.line(line, COLOURS[number % len(COLOURS)], number)
    return canvas.reduced()


def ticks(largest: float) -> list[float]:
    """Round numbers from 0 to the first that is not below the largest value; 4 to 8 of them."""
    largest = max(largest, 1e-9)
    power = 10.0 ** math.floor(math.log10(largest / 4))
    step = next(power * factor for factor in (1, 2, 5, 10) if largest / (power * factor) <= 7)
    return [step * number for number in range(math.ceil(largest / step - 1e-9) + 1)]


class _Canvas:
    """Draws in data coordinates."""

    def __init__(self, x_max: float, y_max: float) -> None:
        self._image = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), "white")
        self._draw = ImageDraw.Draw(self._image)
        self._max = (x_max, y_max)

    def axes(self, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> None:
        for tick in y_ticks:
            self._segment([self._place(0, tick), self._place(self._max[0], tick)], GRID, 1)
            self.text(LEFT - 8, self._place(0, tick)[1], f"{tick:g}", 12, "rm")
        for tick in x_ticks:
            x, y = self._place(tick, 0)
            self._segment([(x, y), (x, y + 5)], INK, 1)
            self.text(x, y + 16, f"{tick:g}", 12, "mm")
        self._segment([self._place(0, 0), self._place(self._max[0], 0)], INK, 1)

    def line(self, line: Line, colour: str, number: int) -> None:
        places = [self._place(*point) for point in line.points]
        if len(places) > 1:
            self._segment(places, colour, 2)
        for x, y in places if len(places) <= MOST_DOTS else ():
            self._draw.ellipse(
                [SCALE * (x - 4), SCALE * (y - 4), SCALE * (x + 4), SCALE * (y + 4)], colour
            )
        x, y = WIDTH - RIGHT + 24, TOP + 22 * number
        self._segment([(x, y), (x + 24, y)], colour, 3)
        self.text(x + 32, y, line.name, 13, "lm")

    def text(self, x: float, y: float, text: str, size: int, anchor: str = "la") -> None:
        font = ImageFont.load_default(size * SCALE)
        self._draw.text((SCALE * x, SCALE * y), text, INK, font, anchor)

    def reduced(self) -> Image.Image:
        return self._image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)

    def _segment(self, places: Sequence[tuple[float, float]], colour: str, width: int) -> None:
        self._draw.line([(SCALE * x, SCALE * y) for x, y in places], colour, width * SCALE)

    def _place(self, x: float, y: float) -> tuple[float, float]:
        across, up = x / self._max[0], y / self._max[1]
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (
            HEIGHT - TOP - BOTTOM
        )
