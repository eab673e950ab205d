"""Charts on points whose places in the picture are known."""

from pathlib import Path

from PIL import Image

from imgcap.chart import COLOURS, HEIGHT, WIDTH, Chart, Line, draw_charts, ticks


def test_ticks_are_round_and_reach_the_largest() -> None:
    assert ticks(7) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert ticks(190) == [0, 50, 100, 150, 200]
    assert ticks(0)[-1] > 0
    for largest in (0.3, 1, 8.01, 99, 12345):
        found = ticks(largest)
        assert 4 <= len(found) - 1 <= 8 and found[-2] < largest <= found[-1] * (1 + 1e-9)


def test_chart_shows_its_points(tmp_path: Path) -> None:
    lines = [Line("a", [(0, 0), (10, 100)]), Line("b", [(5, float("nan")), (10, 0)])]
    draw_charts(tmp_path / "chart.png", Chart("title", "x", "y", lines))
    with Image.open(tmp_path / "chart.png") as chart:
        colours = {colour for _, colour in chart.convert("RGB").getcolors(100_000)}
        first, second = (tuple(bytes.fromhex(colour[1:])) for colour in COLOURS[:2])
        assert {first, second} <= colours
        assert (
            chart.getpixel((700, 80)) == first and chart.getpixel((700, 460)) == second
        )  # the corners


def test_charts_stand_one_below_the_other(tmp_path: Path) -> None:
    up, down = Line("up", [(0, 0), (10, 100)]), Line("down", [(0, 7), (100, 0)])
    draw_charts(tmp_path / "two.png", Chart("a", "x", "y", [up]), Chart("b", "x", "y", [down]))
    for name, chart in (("a", Chart("a", "x", "y", [up])), ("b", Chart("b", "x", "y", [down]))):
        draw_charts(tmp_path / f"{name}.png", chart)
    with Image.open(tmp_path / "two.png") as two:
        assert two.size == (WIDTH, 2 * HEIGHT)
        for number, name in enumerate("ab"):
            with Image.open(tmp_path / f"{name}.png") as alone:
                half = two.crop((0, number * HEIGHT, WIDTH, (number + 1) * HEIGHT))
                assert half.tobytes() == alone.tobytes()


def test_many_points_are_a_line_without_dots(tmp_path: Path) -> None:
    ink = {}
    for points in (30, 300):
        line = Line("a", [(x / points, 1.0) for x in range(points + 1)])
        draw_charts(tmp_path / "chart.png", Chart("", "", "", [line]))
        with Image.open(tmp_path / "chart.png") as chart:
            colour = tuple(bytes.fromhex(COLOURS[0][1:]))
            ink[points] = {value: count for count, value in chart.getcolors(100_000)}.get(colour, 0)
    assert 10 * ink[300] < ink[30]
