"""Table and curves of a run whose lines are written by hand."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgcap.training.watching import curves
from imgcap.training.watching.curves import (
    Epoch,
    draw_curves,
    find_best,
    make_table,
    read_metrics,
    smooth,
    summarise,
    write_curves,
)

SIZE = (1200, 840)
LINES = [
    {"step": 2, "epoch": 1, "loss": 4.0, "learning_rate": 0.3},
    # One step alone: the epoch's mean is (2 × 4 + 1) / 3.
    {"step": 3, "epoch": 1, "loss": 1.0, "learning_rate": 0.2},
    {"step": 3, "epoch": 1, "dev_cider": 30.0, "dev_bleu_4": 10.0, "seconds": 61.4},
    {"step": 5, "epoch": 2, "loss": 2.0, "learning_rate": 0.1},
    {"step": 5, "epoch": 2, "dev_cider": 20.0, "dev_bleu_4": 12.0, "seconds": 59.6},
]
# Three epochs whose best by smoothed CIDEr (35, 36, 39) is not the one with the greatest CIDEr.
CHOSEN = [
    {"step": 2, "epoch": 1, "dev_cider": 30.0, "dev_bleu_4": 10.0, "best_epoch": 1},
    {"step": 4, "epoch": 2, "dev_cider": 40.0, "dev_bleu_4": 11.0, "best_epoch": 2},
    {"step": 6, "epoch": 3, "dev_cider": 38.0, "dev_bleu_4": 12.0, "best_epoch": 3},
]


def test_epochs_and_their_table() -> None:
    epochs = summarise(LINES)
    assert epochs == [Epoch(1, 3.0, 30.0, 10.0, 61.4), Epoch(2, 2.0, 20.0, 12.0, 59.6)]
    assert [line.split() for line in make_table(LINES).splitlines()] == [
        ["epoch", "loss", "dev", "CIDEr", "smoothed", "BLEU-4", "seconds"],
        ["1", "3.000", "30.0", "25.0", "10.0", "61", "best"],
        ["2", "2.000", "20.0", "25.0", "12.0", "60"],
    ]


def test_the_best_epoch_is_the_one_that_was_chosen() -> None:
    assert find_best(CHOSEN) is CHOSEN[2]
    rows = [line.split() for line in make_table(CHOSEN).splitlines()[1:]]
    assert [row[3] for row in rows] == ["35.0", "36.0", "39.0"]
    assert [row[-1] == "best" for row in rows] == [False, False, True]
    dev = next(
        axes for axes in draw_curves(CHOSEN, "").axes if axes.get_title(loc="left") == "Dev CIDEr"
    )
    assert dev.get_title(loc="right") == "★ 38.0 at epoch 3, best by smoothed CIDEr"
    assert dev.lines[1].get_xydata().tolist() == [[2, 35.0], [4, 36.0], [6, 39.0]]


def test_a_run_without_an_epoch() -> None:
    assert make_table(LINES[:2]).count("\n") == 0


def test_curves_show_each_quantity_on_axes_of_its_own() -> None:
    figure = draw_curves(LINES, "a run")
    assert figure.get_suptitle() == "a run"
    drawn = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert list(drawn) == ["Training loss", "Dev CIDEr", "Dev BLEU-4", "Learning rate"]
    points = {
        title: [line.get_xydata().tolist() for line in axes.lines] for title, axes in drawn.items()
    }
    assert points["Training loss"][0] == [[2, 4.0], [3, 1.0], [5, 2.0]]
    assert len(points["Training loss"]) == 2
    # Lines of an earlier version: the star stands at the epoch with the best CIDEr, in BLEU-4 too.
    smoothed = [[3, 25.0], [5, 25.0]]
    assert points["Dev CIDEr"] == [[[3, 30.0], [5, 20.0]], smoothed, [[3, 30.0]]]
    assert points["Dev BLEU-4"] == [[[3, 10.0], [5, 12.0]], [[3, 10.0]]]
    assert points["Learning rate"] == [[[2, 0.3], [3, 0.2], [5, 0.1]]]
    for title, value in (("Dev CIDEr", "30.0"), ("Dev BLEU-4", "10.0")):
        assert drawn[title].get_title(loc="right") == f"★ {value} at epoch 1, best by CIDEr"


def test_a_reward_has_axes_too() -> None:
    lines = [{"step": 1, "epoch": 1, "loss": -1.0, "reward": 0.5}]
    titles = [axes.get_title(loc="left") for axes in draw_curves(lines, "").axes]
    assert titles == ["Training loss", "Reward of sampled captions"]


def test_a_run_without_a_line_is_drawn_empty(tmp_path: Path) -> None:
    write_curves(tmp_path / "curves.png", [])
    assert (tmp_path / "curves.png").exists()


def test_a_short_last_line_makes_no_spike() -> None:
    # Epochs of 101 steps, logged every 20: each ends with a line of one step, which is an outlier.
    points, last = [], []
    for epoch in range(20):
        points += [(101 * epoch + step, 2.0) for step in range(20, 101, 20)]
        last.append(len(points))
        points.append((101 * (epoch + 1), 3.0))
    smoothed = smooth(points)
    assert smoothed[0] == 2.0
    assert max(abs(smoothed[place] - smoothed[place - 1]) for place in last) < 0.05
    # A level that changes is followed.
    steps = [(10.0 * number, float(number > 50)) for number in range(1, 101)]
    np.testing.assert_allclose(smooth(steps)[-1], 1.0, atol=1e-6)


def test_a_smoothed_curve_is_no_later_than_what_it_smooths() -> None:
    # A loss that falls evenly; a line holds its mean over 10 steps, which it had in their middle.
    points = [(float(step), 1000.0 - (step - 5)) for step in range(10, 1001, 10)]
    smoothed = smooth(points)
    for step in (10, 20, 300, 970):
        assert smoothed[step // 10 - 1] == pytest.approx(1000 - step)
    # At the end the 30 steps before alone.
    assert smoothed[-1] == pytest.approx(1000 - 985)
    # Few lines are left almost as they are; 1 / 8 of 4 lines is 5 steps on either side.
    assert smooth([(10, 4.0), (20, 2.0), (30, 2.0), (40, 2.0)]) == [3.0, 2.0, 2.0, 2.0]
    assert smooth([]) == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_no_number_leaves_the_rest_of_the_curve(value: float) -> None:
    lines = [{"step": step, "epoch": 1, "loss": 4.0} for step in range(1, 50)]
    lines[20]["loss"] = value
    loss = draw_curves(lines, "").axes[0]
    for line in loss.lines:
        assert len(line.get_xdata()) == 48
        assert set(line.get_ydata()) == {4.0}


def test_one_epoch_is_a_star_amid_axes_that_make_no_cliff_of_noise() -> None:
    dev, bleu = draw_curves([{**LINES[2], "step": 3}], "").axes
    assert [line.get_xydata().tolist() for line in dev.lines] == [[[3, 30.0]]] * 2
    assert dev.get_legend() is None
    for axes, value, span in ((dev, 30.0, 6.0), (bleu, 10.0, 3.0)):
        low, high = axes.get_ylim()
        assert high - low == pytest.approx(span)
        assert (low + high) / 2 == pytest.approx(value)


def long_run() -> list[curves.Metric]:
    """A self-critical run of 200,000 steps and 40 epochs, with scores of three digits."""
    lines: list[curves.Metric] = []
    for step in range(250, 200_001, 250):
        line = {"step": step, "loss": -1.0 / step, "reward": step / 1e5, "learning_rate": 1e-5}
        lines.append({**line, "epoch": -(-step // 5000)})
        if step % 5000 == 0:
            scores = {"dev_cider": 100.0 + step / 1e4, "dev_bleu_4": 30.0, "best_epoch": 40}
            lines.append({"step": step, "epoch": step // 5000, **scores})
    return lines


def test_no_text_of_a_long_run_touches_a_curve_or_another_text() -> None:
    figure = draw_curves(long_run(), "run")
    figure.draw_without_rendering()
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        panel.title for panel in curves.PANELS
    ]
    # Five panels in two columns: the first takes a row, and there is no hole.
    assert figure.axes[0].get_position().width > 1.9 * figure.axes[1].get_position().width
    for axes in figure.axes:
        numbers = [text for text in axes.get_xticklabels() if text.get_text()]
        assert numbers[-1].get_text().endswith("k")
        legend = [axes.get_legend()] if axes.get_legend() else []
        titles = [axes._left_title, axes._right_title]
        texts = [*numbers, axes.xaxis.label, *legend, *(t for t in titles if t.get_text())]
        boxes = [axes.get_window_extent(), *(text.get_window_extent() for text in texts)]
        # The numbers at the ends of the axis stand beyond it, but below.
        assert not [
            (one, other) for one, other in itertools.combinations(boxes, 2) if one.overlaps(other)
        ]


def test_the_picture_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    write_curves(tmp_path / "curves.png", read_metrics(tmp_path / "metrics.jsonl"))
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == SIZE
        colours = {colour[:3] for _, colour in picture.getcolors(100_000)}
    for panel in curves.PANELS:
        wanted = tuple(bytes.fromhex(panel.colour[1:]))
        assert (wanted in colours) is (panel.key != "reward")


def test_a_machine_without_matplotlib_trains_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(curves.importlib.util, "find_spec", lambda name: None)
    write_curves(tmp_path / "curves.png", LINES)
    assert not (tmp_path / "curves.png").exists()
    assert capsys.readouterr().out == (
        "curves.png is not drawn: matplotlib is not installed (pip install 'imgcap-tf[train]')\n"
    )


def test_a_finished_run_has_both(workdir: Path) -> None:
    with Image.open(workdir / "curves.png") as picture:
        assert picture.size == SIZE
    lines = read_metrics(workdir / "metrics.jsonl")
    epochs = summarise(lines)
    assert [epoch.number for epoch in epochs] == [1, 2]
    assert epochs[1].loss < epochs[0].loss
    assert all(epoch.seconds > 0 for epoch in epochs)
    # Along a cosine from the peak to 0, the rate of each next step.
    rates = [line["learning_rate"] for line in lines if "loss" in line]
    peak, steps = 0.03, len(rates)
    expected = peak * (1 + np.cos(np.pi * np.arange(1, steps + 1) / steps)) / 2
    np.testing.assert_allclose(rates, expected, atol=1e-6)
