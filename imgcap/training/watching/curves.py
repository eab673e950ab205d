"""What a run came to: a table of its epochs and a picture of its curves, both from metrics.jsonl
alone.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from imgcap.chart import Chart, Line, draw_charts

CURVES = "curves.png"
HEADS = ("epoch", "loss", "dev CIDEr", "BLEU-4", "seconds")

Metric = Mapping[str, float]


class Epoch(NamedTuple):
    """One row of the table.

    Attributes:
        number: from 1.
        loss: of training, nats a token, mean over the epoch's steps.
        cider: dev CIDEr × 100.
        bleu_4: dev BLEU-4 × 100.
        seconds: training and dev captions, as far as one process did them; NaN where the run did
            not write it.
    """

    number: int
    loss: float
    cider: float
    bleu_4: float
    seconds: float


def read_metrics(path: Path) -> list[Metric]:
    """The lines of a `metrics.jsonl`, in order."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def summarise(metrics: Sequence[Metric]) -> list[Epoch]:
    """The evaluated epochs of a run.

    Args:
        metrics: from `read_metrics`.

    Returns:
        One entry an epoch, in order.
    """
    epochs, step, loss, steps = [], 0, 0.0, 0
    for line in metrics:
        if "loss" in line:
            # A line speaks for all steps since the line before.
            loss, steps = loss + line["loss"] * (line["step"] - step), steps + line["step"] - step
            step = line["step"]
        if "dev_cider" in line:
            mean = loss / steps if steps else math.nan
            seconds = line.get("seconds", math.nan)
            epochs.append(
                Epoch(int(line["epoch"]), mean, line["dev_cider"], line["dev_bleu_4"], seconds)
            )
            loss, steps = 0.0, 0
    return epochs


def make_table(epochs: Sequence[Epoch]) -> str:
    """The epochs as lines of text, the one with the best dev CIDEr marked.

    Args:
        epochs: from `summarise`.

    Returns:
        A heading and a line an epoch.
    """
    best = max(epochs, key=lambda epoch: epoch.cider, default=None)
    lines = ["  ".join(f"{head:>9}" for head in HEADS)]
    for epoch in epochs:
        mark = "  best" if epoch is best else ""
        lines.append(
            f"{epoch.number:9d}  {epoch.loss:9.3f}  {epoch.cider:9.1f}  {epoch.bleu_4:9.1f}  "
            f"{epoch.seconds:9.0f}{mark}"
        )
    return "\n".join(lines)


def write_curves(path: Path, metrics: Sequence[Metric]) -> None:
    """Draws the loss and the dev scores over the steps.

    Args:
        path: the picture.
        metrics: from `read_metrics`.
    """

    def line(name: str, key: str) -> Line:
        return Line(name, [(line["step"], line[key]) for line in metrics if key in line])

    draw_charts(
        path,
        Chart("Loss in training", "step", "nats a token", [line("loss", "loss")]),
        Chart(
            "Captions of the dev images",
            "step",
            "score x 100",
            [line("CIDEr", "dev_cider"), line("BLEU-4", "dev_bleu_4")],
        ),
    )
