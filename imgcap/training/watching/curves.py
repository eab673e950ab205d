"""A table of a run's epochs and a picture of its curves, both from metrics.jsonl alone."""

import importlib.util
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from imgcap.run.metrics import read_line
from imgcap.training.watching.selection import smooth_scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVES = "curves.png"
HEADS = ("epoch", "loss", "dev CIDEr", "smoothed", "BLEU-4", "seconds")
COLUMNS, PANEL_INCHES, DPI = 2, (5.0, 3.5), 120
INK = "#333333"
# Part of the run in which a step's weight in a smoothed curve falls by half.
HALF_LIFE = 0.01

Metric = Mapping[str, float]


class Panel(NamedTuple):
    """Axes of the picture.

    Attributes:
        key: of the values in metrics.jsonl.
        title: above the axes.
        unit: beside the y axis.
        colour: of the curve.
        style: 'smooth' draws a smoothed curve over the values, 'dots' a dot for each epoch and
            marks the best, 'line' the values alone.
    """

    key: str
    title: str
    unit: str
    colour: str
    style: str


PANELS = (
    Panel("loss", "Training loss", "nats a token", "#2b6cb0", "smooth"),
    Panel("reward", "Reward of sampled captions", "CIDEr-D, 0 to 10", "#6b46c1", "smooth"),
    Panel("dev_cider", "Dev CIDEr", "score x 100", "#c05621", "dots"),
    Panel("dev_bleu_4", "Dev BLEU-4", "score x 100", "#2f855a", "dots"),
    Panel("learning_rate", "Learning rate", "Adam's step size", "#4a5568", "line"),
)


class Epoch(NamedTuple):
    """One row of the table.

    Attributes:
        number: from 1.
        loss: of training, nats a token, mean over the epoch's steps.
        cider: dev CIDEr × 100.
        bleu_4: dev BLEU-4 × 100.
        seconds: of training and dev captions, as far as one process did them; NaN if the run did
            not write it.
    """

    number: int
    loss: float
    cider: float
    bleu_4: float
    seconds: float


def read_metrics(path: Path) -> list[Metric]:
    """Reads the lines of a `metrics.jsonl`, in order, without damaged ones and without texts."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [
        {name: value for name, value in values.items() if not isinstance(value, str)}
        for values in map(read_line, lines)
        if values
    ]


def summarise(metrics: Sequence[Metric]) -> list[Epoch]:
    """Sums up the evaluated epochs of a run.

    Args:
        metrics: from `read_metrics`.

    Returns:
        One entry an epoch, in order.
    """
    epochs: list[Epoch] = []
    step, loss, steps = 0.0, 0.0, 0.0
    for line in metrics:
        if "loss" in line:
            # A line holds the mean of all steps since the line before.
            loss, steps = loss + line["loss"] * (line["step"] - step), steps + line["step"] - step
            step = line["step"]
        if _is_evaluation(line):
            mean = loss / steps if steps else math.nan
            seconds = line.get("seconds", math.nan)
            epochs.append(
                Epoch(int(line["epoch"]), mean, line["dev_cider"], line["dev_bleu_4"], seconds)
            )
            loss, steps = 0.0, 0.0
    return epochs


def find_best(metrics: Sequence[Metric]) -> Metric | None:
    """Finds the line of the epoch whose checkpoint is evaluated and exported.

    Args:
        metrics: from `read_metrics`.

    Returns:
        Of the epoch that the last evaluation names; of the one with the best dev CIDEr if an
        earlier version, which chose by that, wrote the lines; None before the first evaluation.
    """
    evaluated = list(filter(_is_evaluation, metrics))
    named = evaluated[-1].get("best_epoch") if evaluated else None
    return max(
        (line for line in evaluated if named in (None, line["epoch"])),
        key=lambda line: line["dev_cider"],
        default=None,
    )


def _is_evaluation(line: Metric) -> bool:
    return {"dev_cider", "dev_bleu_4", "epoch"} <= line.keys()


def make_table(metrics: Sequence[Metric]) -> str:
    """Writes the evaluated epochs as lines of text, and marks the best one.

    Args:
        metrics: from `read_metrics`.

    Returns:
        A heading and a line an epoch, with its dev CIDEr and the mean of that and its neighbours'.
    """
    epochs, best = summarise(metrics), find_best(metrics)
    smoothed = smooth_scores({epoch.number: epoch.cider for epoch in epochs})
    lines = ["  ".join(f"{head:>9}" for head in HEADS)]
    for epoch in epochs:
        mark = "  best" if best and epoch.number == best["epoch"] else ""
        lines.append(
            f"{epoch.number:9d}  {epoch.loss:9.3f}  {epoch.cider:9.1f}  "
            f"{smoothed[epoch.number]:9.1f}  {epoch.bleu_4:9.1f}  {epoch.seconds:9.0f}{mark}"
        )
    return "\n".join(lines)


def write_curves(path: Path, metrics: Sequence[Metric]) -> None:
    """Draws the curves of a run into a file; says so in a line if matplotlib is not installed.

    Args:
        path: the picture; the name of its folder is the title.
        metrics: from `read_metrics`.
    """
    # A machine may train without the library: no picture is worth a run that fails at its end.
    if importlib.util.find_spec("matplotlib") is None:
        print(
            f"{path.name} is not drawn: matplotlib is not installed (pip install "
            "'imgcap-tf[train]')"
        )
        return
    draw_curves(metrics, path.parent.name).savefig(path)


def draw_curves(metrics: Sequence[Metric], title: str) -> "Figure":
    """Draws what was logged over the steps, each quantity on axes of its own.

    Args:
        metrics: from `read_metrics`.
        title: of the picture.

    Returns:
        A picture of the loss (and the reward of self-critical training), dev CIDEr, dev BLEU-4 and
        the learning rate, as far as they were logged; axes are labelled by their titles.
    """
    from matplotlib.figure import Figure

    best = find_best(metrics)
    panels = [panel for panel in PANELS if any(panel.key in line for line in metrics)] or PANELS[:1]
    rows = -(-len(panels) // COLUMNS)
    figure = Figure((PANEL_INCHES[0] * COLUMNS, PANEL_INCHES[1] * rows), DPI, layout="constrained")
    figure.suptitle(title, fontweight="bold")
    for number, panel in enumerate(panels):
        axes = figure.add_subplot(rows, COLUMNS, number + 1)
        points = [(line["step"], line[panel.key]) for line in metrics if panel.key in line]
        steps, values = [step for step, _ in points], [value for _, value in points]
        _decorate(axes, panel, max([line["step"] for line in metrics], default=1))
        if panel.style == "smooth":
            axes.plot(steps, values, color=panel.colour, alpha=0.25, linewidth=1, label="logged")
            axes.plot(steps, smooth(points), color=panel.colour, linewidth=2, label="smoothed")
            axes.legend(frameon=False)
        else:
            marker = "o" if panel.style == "dots" else ""
            axes.plot(steps, values, color=panel.colour, linewidth=2, marker=marker, markersize=4)
        if panel.key == "dev_cider":
            _draw_smoothed(axes, metrics, panel)
        if best and panel.style == "dots":
            _mark_best(axes, best, panel)
    return figure


def smooth(points: Sequence[tuple[float, float]]) -> list[float]:
    """Averages values over the steps before them; the weight of a step falls by half in some steps.

    A value is the mean of the steps since the one before, and weighs as many as those are: the
    last line of an epoch, often of a single step, makes no spike.

    Args:
        points: (step, value) in order.

    Returns:
        A value for each point.
    """
    half_life = max(1.0, (points[-1][0] if points else 0) * HALF_LIFE)
    averages, total, weight, before = [], 0.0, 0.0, 0.0
    for step, value in points:
        steps = max(step - before, 0.0)
        kept = 0.5 ** (steps / half_life)
        total, weight = kept * total + (1 - kept) * value, kept * weight + (1 - kept)
        # Divided by the weight so far: the first averages are not drawn towards 0.
        averages.append(total / weight if weight else value)
        before = step
    return averages


def _decorate(axes: "Axes", panel: Panel, last_step: float) -> None:
    axes.set_title(panel.title, loc="left", fontsize="medium")
    axes.set_xlabel("step")
    axes.set_ylabel(panel.unit)
    axes.set_xlim(0, last_step * 1.03)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_smoothed(axes: "Axes", metrics: Sequence[Metric], panel: Panel) -> None:
    """Draws what the best epoch is chosen by: means over neighbouring epochs."""
    evaluated = list(filter(_is_evaluation, metrics))
    smoothed = smooth_scores({int(line["epoch"]): line["dev_cider"] for line in evaluated})
    axes.plot(
        [line["step"] for line in evaluated],
        [smoothed[int(line["epoch"])] for line in evaluated],
        color=panel.colour,
        linewidth=1,
        linestyle="--",
        label="smoothed over neighbouring epochs",
    )
    axes.legend(frameon=False, loc="lower right")


def _mark_best(axes: "Axes", best: Metric, panel: Panel) -> None:
    """Marks the epoch that was chosen by dev CIDEr, whose checkpoint evaluation takes."""
    step, value = best["step"], best[panel.key]
    chosen_by = "smoothed CIDEr" if "best_epoch" in best else "CIDEr"
    axes.plot([step], [value], "*", color=INK, markersize=13, zorder=3)
    axes.set_title(
        f"★ {value:.1f} at epoch {best['epoch']:.0f}, best by {chosen_by}",
        loc="right",
        fontsize="medium",
        color=INK,
    )
