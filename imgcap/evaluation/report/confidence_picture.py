"""A picture of confidence: reliability, and CIDEr of the surest captions (risk and coverage)."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imgcap import files

INCHES, DPI = (9.0, 3.8), 110
INK, COLOUR = "#333333", "#2b6cb0"


def draw_confidence(path: Path, confidence: Mapping[str, Any]) -> None:
    """Draws how right the confidences of a split are.

    Args:
        path: the PNG file to write, in one step.
        confidence: from `imgcap.evaluation.confidence.describe_confidence`.
    """
    # Here, since it takes long to import and is only needed now. No window is opened: the figure
    # has a canvas of its own.
    from matplotlib.figure import Figure

    figure = Figure(figsize=INCHES, layout="constrained")
    left, right = figure.subplots(1, 2)
    groups = confidence["reliability"]
    left.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle="--", label="as it should be")
    left.plot(
        [group["confidence"] for group in groups],
        [group["good"] for group in groups],
        "o-",
        color=COLOUR,
        label="captions of about equal confidence",
    )
    for group in groups:
        left.annotate(
            str(group["captions"]),
            (group["confidence"], group["good"]),
            xytext=(6, -10),
            textcoords="offset points",
            color=INK,
            fontsize=8,
        )
    left.set(
        xlim=(0, 1.05),
        ylim=(0, 1.05),
        xlabel="confidence",
        ylabel="share as good as a person's",
        title=f"Reliability (calibration error {confidence['calibration_error']:.3f})",
    )
    # Where captions are surer than they are good: the one corner far from a calibrated curve that
    # is no narrower than the text.
    left.legend(frameon=False, fontsize="small", loc="lower right")
    rows = confidence["risk_coverage"]
    ciders = [row["cider"] for row in rows]
    lows = [row["cider"] - row["interval"][0] for row in rows]
    highs = [row["interval"][1] - row["cider"] for row in rows]
    shares = [100 * row["coverage"] for row in rows]
    right.errorbar(shares, ciders, yerr=[lows, highs], fmt="o-", color=COLOUR, capsize=3)
    right.set(
        xlim=(0, 105),
        ylim=(0, None),
        xlabel="surest captions, % of all",
        ylabel="CIDEr x 100, 95 % interval",
        title="CIDEr of the surest captions",
    )
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=DPI, format="png")
    files.write_bytes(path, picture.getvalue())
