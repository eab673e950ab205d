"""Whether confidence is right: reliability (does 0.7 mean 7 of 10?), and risk against coverage."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from imgcap.evaluation.scores.bootstrap import percentile_interval, resample

BINS = 10
COVERAGES = (0.2, 0.5, 0.8, 1.0)
"""Shares of the images, the surest first, whose captions are scored on their own."""


def reliability_curve(confidence: np.ndarray, good: np.ndarray) -> list[dict[str, float]]:
    """Groups captions of about equal confidence and counts how many of each group are good.

    Args:
        confidence: float [N] in [0, 1].
        good: bool [N].

    Returns:
        For each of `BINS` equal parts of [0, 1] that holds a caption, rising: the mean
        `confidence`, the share `good`, and how many `captions`.
    """
    parts = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return [
        {
            "confidence": float(confidence[parts == part].mean()),
            "good": float(good[parts == part].mean()),
            "captions": int((parts == part).sum()),
        }
        for part in np.unique(parts)
    ]


def calibration_error(confidence: np.ndarray, good: np.ndarray) -> float:
    """The expected calibration error (Guo et al. 2017), over parts of [0, 1] of equal width.

    Args:
        confidence: float [N] in [0, 1].
        good: bool [N].

    Returns:
        The mean distance of a group's confidence from its share of good captions, in [0, 1].
    """
    groups = reliability_curve(confidence, good)
    distances = [abs(one["confidence"] - one["good"]) * one["captions"] for one in groups]
    return sum(distances) / len(confidence)


def risk_coverage(
    confidence: np.ndarray, ciders: np.ndarray, *, bootstrap_samples: int = 1000, seed: int = 0
) -> list[dict[str, Any]]:
    """Scores the surest captions on their own.

    Args:
        confidence: float [N].
        ciders: float [N], CIDEr of each caption x 100.
        bootstrap_samples: draws of images for the intervals.
        seed: of the draws.

    Returns:
        For each of `COVERAGES`: `coverage`, how many `captions`, the least `confidence` among them,
        their mean `cider`, and its `interval` [low, high] of 95 %.
    """
    order = np.argsort(-confidence, kind="stable")
    rows = []
    for coverage in COVERAGES:
        kept = order[: max(1, round(coverage * len(order)))]
        scores = ciders[kept][:, np.newaxis]
        statistics = np.column_stack([scores, np.ones(len(kept))])
        drawn = resample(
            statistics, lambda sums: sums[:, :1] / sums[:, 1:], bootstrap_samples, seed
        )
        rows.append(
            {
                "coverage": coverage,
                "captions": len(kept),
                "confidence": float(confidence[kept].min()),
                "cider": float(scores.mean()),
                "interval": percentile_interval(drawn)[0].tolist(),
            }
        )
    return rows


def describe_confidence(
    confidence: Sequence[float], ciders: Sequence[float], human_cider: float
) -> dict[str, Any]:
    """Measures the confidences of a split's captions against what the captions turned out to be.

    Args:
        confidence: of the best caption of each image, in [0, 1].
        ciders: CIDEr of the same captions x 100.
        human_cider: CIDEr x 100 from which on a caption counts as good as a person's.

    Returns:
        A tree that JSON can hold: `calibration_error`, `share_as_good`, `human_cider`,
        `reliability` (see `reliability_curve`) and `risk_coverage`.
    """
    found, scores = np.asarray(confidence, np.float64), np.asarray(ciders, np.float64)
    good = scores >= human_cider
    return {
        "human_cider": human_cider,
        "share_as_good": float(good.mean()),
        "calibration_error": calibration_error(found, good),
        "reliability": reliability_curve(found, good),
        "risk_coverage": risk_coverage(found, scores),
    }
