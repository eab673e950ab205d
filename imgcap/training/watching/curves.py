"""A table of a run's epochs and a picture of its curves, both from metrics.jsonl alone."""

import importlib.util
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from imgcap.run.metrics import read_line
from imgcap.training.watching.selection import smooth_scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVES = "curves.png"
HEADS = ("epoch", "loss", "dev CIDEr", "smoothed", "BLEU-4", "seconds")
COLUMNS, PANEL_INCHES, DPI = 2, (5.0, 3.5), 120
INK = "#333333"
# Steps on each side that a smoothed curve averages: a part of the run, but no less than so many
# lines of the log cover, since a hundredth of a short run is less than a line and smooths nothing;
# of a run of a few lines no more than an eighth.
REACH, REACH_LINES, MOST_LINES = 0.01, 3.0, 1 / 8
# Most dots of logged values that can be told apart in a panel; more are drawn smaller and paler.
MANY_DOTS = 300

Metric = Mapping[str, float]


class Panel(NamedTuple):
    """Axes of the picture.

    Attributes:
        key: of the values in metrics.jsonl.
        title: above the axes.
        unit: beside the y axis.
        colour: of the curve.
        style: 'smooth' draws a smoothed curve over the values, 'dots' a dot for each epoch and
            marks the best, 'line' the values alone, from 0 on.
        least_span: of the y axis; differences that are noise stay small.
    """

    key: str
    title: str
    unit: str
    colour: str
    style: str
    least_span: float = 0.0


PANELS = (
    Panel("loss", "Training loss", "nats a token", "#2b6cb0", "smooth"),
    Panel("reward", "Reward of sampled captions", "CIDEr-D, 0 to 10", "#6b46c1", "smooth"),
    Panel("dev_cider", "Dev CIDEr", "score x 100", "#c05621", "dots", 6.0),
    Panel("dev_bleu_4", "Dev BLEU-4", "score x 100", "#2f855a", "dots", 3.0),
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
    size = PANEL_INCHES[0] * COLUMNS, PANEL_INCHES[1] * rows
    # White, whatever the style of the reader's matplotlib: a viewer may be dark.
    figure = Figure(size, DPI, layout="constrained", facecolor="white")
    figure.suptitle(title, fontweight="bold")
    # An odd number leaves no hole: the first panel is as wide as the picture.
    wide = COLUMNS * rows - len(panels)
    for number, panel in enumerate(panels):
        place = number + 1 + (wide if number else 0)
        axes = figure.add_subplot(rows, COLUMNS, place if number else (1, 1 + wide))
        _decorate(axes, panel, max([line["step"] for line in metrics], default=1))
        _draw(axes, panel, select_points(metrics, panel.key))
        if panel.key == "loss" and any("reward" in line for line in metrics):
            axes.set_ylabel("policy-gradient loss a token")
        if panel.key == "dev_cider":
            _draw_smoothed(axes, metrics, panel)
        if best and panel.style == "dots":
            _mark_best(axes, best, panel)
        _widen(axes, panel.least_span)
    return figure


def select_points(metrics: Sequence[Metric], key: str) -> list[tuple[float, float]]:
    """Selects what was logged of one quantity, without values that are no finite numbers.

    Args:
        metrics: from `read_metrics`.
        key: of the quantity.

    Returns:
        (step, value) in order.
    """
    points = [(line["step"], line[key]) for line in metrics if key in line]
    return [(step, value) for step, value in points if math.isfinite(value)]


def smooth(points: Sequence[tuple[float, float]]) -> list[float]:
    """Averages values over the steps around each, as many before as after it.

    A value is the mean of the steps since the one before, and weighs as many as those are: the
    last line of an epoch, often of a single step, makes no spike. At the start fewer steps are
    averaged, and at the end those before alone.

    Args:
        points: (step, value) in order.

    Returns:
        A value for each point.
    """
    if not points:
        return []
    steps, values = np.array(points, np.float64).T
    last = steps[-1]
    spans = np.diff(steps, prepend=0.0)
    # The sum over all steps up to the end of a line, for any step by interpolation.
    ends, sums = np.r_[0.0, steps], np.r_[0.0, np.cumsum(spans * values)]
    lines = max(len(points) * REACH, min(REACH_LINES, len(points) * MOST_LINES))
    reach = np.minimum(lines * last / len(points), steps)
    low, high = steps - reach, np.minimum(steps + reach, last)
    totals = np.interp(high, ends, sums) - np.interp(low, ends, sums)
    widths = np.where(high > low, high - low, 1.0)
    return np.where(high > low, totals / widths, values).tolist()


def _draw(axes: "Axes", panel: Panel, points: Sequence[tuple[float, float]]) -> None:
    """Draws the values of a quantity in the style of its panel."""
    steps, values = [step for step, _ in points], [value for _, value in points]
    if panel.style != "smooth":
        marker = "o" if panel.style == "dots" else ""
        axes.plot(steps, values, color=panel.colour, linewidth=2, marker=marker, markersize=4)
        if panel.style == "line":
            axes.set_ylim(0, 1.05 * max(values, default=0.0) or 1.0)
        return
    # Dots, not a line: one line of the log that covers a single step would be a spike.
    few = len(points) <= MANY_DOTS
    size, alpha = (3.0, 0.45) if few else (1.2, 0.25)
    (dots,) = axes.plot(steps, values, "o", color=panel.colour, markersize=size, label="logged")
    dots.set(alpha=alpha, markeredgewidth=0.0)
    axes.plot(steps, smooth(points), color=panel.colour, linewidth=2, label="smoothed")
    _add_legend(axes, markerscale=1.0 if few else 2.5)


def _add_legend(axes: "Axes", markerscale: float = 1.0) -> None:
    """Explains the lines under the axes, at the right of the word "step", where no point can be."""
    legend = axes.legend(
        frameon=False,
        fontsize="small",
        markerscale=markerscale,
        ncols=2,
        loc="upper right",
        bbox_to_anchor=(1.01, -0.11),
        borderaxespad=0.0,
    )
    for line in legend.get_lines():
        line.set_alpha(1.0)


def format_step(step: float) -> str:
    """A step beside the axis: thousands as k, since six digits run into the next number."""
    return f"{step / 1000:g}k" if step >= 10_000 else f"{step:g}"


def _decorate(axes: "Axes", panel: Panel, last_step: float) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_title(panel.title, loc="left", fontsize="medium")
    axes.set_xlabel("step", loc="left")
    axes.set_ylabel(panel.unit)
    axes.set_xlim(0, last_step * 1.03)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: format_step(step)))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_smoothed(axes: "Axes", metrics: Sequence[Metric], panel: Panel) -> None:
    """Draws what the best epoch is chosen by: means over neighbouring epochs."""
    evaluated = list(filter(_is_evaluation, metrics))
    if len(evaluated) < 2:
        return
    smoothed = smooth_scores({int(line["epoch"]): line["dev_cider"] for line in evaluated})
    axes.plot(
        [line["step"] for line in evaluated],
        [smoothed[int(line["epoch"])] for line in evaluated],
        color=panel.colour,
        linewidth=1,
        linestyle="--",
        label="smoothed over neighbouring epochs",
    )
    _add_legend(axes)


def _mark_best(axes: "Axes", best: Metric, panel: Panel) -> None:
    """Marks the epoch that was chosen by dev CIDEr, whose checkpoint evaluation takes."""
    step, value = best["step"], best[panel.key]
    chosen_by = "smoothed CIDEr" if "best_epoch" in best else "CIDEr"
    axes.plot([step], [value], "*", color=INK, markersize=13, zorder=3, clip_on=False)
    axes.set_title(
        f"★ {value:.1f} at epoch {best['epoch']:.0f}, best by {chosen_by}",
        loc="right",
        fontsize="small",
        color=INK,
    )


def _widen(axes: "Axes", least_span: float) -> None:
    """Makes the y axis span at least so much, around what it shows; scores begin at 0."""
    low, high = axes.get_ylim()
    missing = least_span - (high - low)
    if missing > 0:
        low = max(low - missing / 2, min(low, 0.0))
        axes.set_ylim(low, low + least_span)
