"""The bootstrap: how far a score would move on another draw of as many images."""

from collections.abc import Callable

import numpy as np

CONFIDENCE = 0.95

# Resamples at a time: bounds the memory of the weights to 100 numbers an image.
_CHUNK = 100


def resample(
    statistics: np.ndarray, score: Callable[[np.ndarray], np.ndarray], samples: int, seed: int
) -> np.ndarray:
    """Scores sets that are drawn from the images with replacement (Efron's bootstrap).

    How often each image is drawn is multinomial, so the sums of a resample are one matrix product.

    Args:
        statistics: float64 [B, S], the numbers of each image whose sums make the scores.
        score: sums [N, S] over B images each -> scores [N, M].
        samples: N, how many sets to draw.
        seed: of the draws; the same seed draws the same images of two systems, so that their scores
            can be compared draw by draw.

    Returns:
        float64 [N, M].
    """
    images = len(statistics)
    generator = np.random.default_rng(seed)
    chunks = [min(_CHUNK, samples - start) for start in range(0, samples, _CHUNK)]
    draws = (
        generator.multinomial(images, np.full(images, 1.0 / images), size=size) for size in chunks
    )
    return np.concatenate([score(drawn @ statistics) for drawn in draws])


def percentile_interval(scores: np.ndarray) -> np.ndarray:
    """The middle 95 % of resampled scores.

    Args:
        scores: float64 [N, M].

    Returns:
        float64 [M, 2]: the low and the high end of each score.
    """
    tail = 100 * (1 - CONFIDENCE) / 2
    return np.percentile(scores, [tail, 100 - tail], axis=0).T
