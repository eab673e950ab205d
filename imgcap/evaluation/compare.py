"""Comparison of runs by a paired bootstrap: whether scores differ by more than chance."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from imgcap.config.prepare import WORD
from imgcap.errors import DataError
from imgcap.evaluation.scores import NAMES, resampled_scores, score_captions
from imgcap.evaluation.scores.bootstrap import percentile_interval

BOOTSTRAP_SAMPLES = 1000


class Difference(NamedTuple):
    """One score of a run, and how it differs from that of the base run.

    Attributes:
        score: of the run, x 100.
        change: this score minus that of the base run.
        low: low end of the middle 95 % of the change over all draws.
        high: high end of it.
        p_value: two-sided, of the hypothesis that neither run is better; at least 1 /
            BOOTSTRAP_SAMPLES.
    """

    score: float
    change: float
    low: float
    high: float
    p_value: float


def compare(
    runs: Mapping[str, Mapping[str, str]],
    references: Mapping[str, Sequence[str]],
    *,
    seed: int = 0,
    tokenizer: str = WORD,
) -> dict[str, dict[str, Difference]]:
    """Compares runs with the first of them by a paired bootstrap (Koehn 2004).

    Each draw of images scores all runs.

    Args:
        runs: run to its captions, image to text; at least two runs, of the same images.
        references: image to its true captions.
        seed: of the draws.
        tokenizer: how texts are split, 'word' or 'character'; the same for all runs.

    Returns:
        Run to score name to difference; the first run's own are zero.

    Raises:
        DataError: fewer than two runs, or runs of different images.
    """
    if len(runs) < 2:
        raise DataError(f"{len(runs)} run to compare: name at least two")
    drawn = {
        name: resampled_scores(captions, references, BOOTSTRAP_SAMPLES, seed, tokenizer=tokenizer)
        for name, captions in runs.items()
    }
    scores = {
        name: score_captions(captions, references, bootstrap_samples=0, tokenizer=tokenizer)
        for name, captions in runs.items()
    }
    base = next(iter(runs))
    return {
        name: {
            score: _difference(
                scores[name][score], scores[base][score], drawn[name][:, at] - drawn[base][:, at]
            )
            for at, score in enumerate(NAMES)
        }
        for name in runs
    }


def _difference(score: float, base: float, changes: np.ndarray) -> Difference:
    """The difference of two scores, with interval and p-value from its draws, float64 [N]."""
    low, high = percentile_interval(changes[:, np.newaxis])[0]
    # The share of draws whose change has not the sign that most draws have.
    against = min(float(np.mean(changes <= 0)), float(np.mean(changes >= 0)))
    return Difference(
        score,
        score - base,
        float(low),
        float(high),
        min(1.0, max(2 * against, 1 / len(changes))),
    )
