"""BLEU-1 to BLEU-4 of a set of captions (Papineni et al. 2002), as in the COCO evaluation."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from imgcap.data.text.ngrams import MAX_ORDER
from imgcap.evaluation.scores.ngrams import NGram, Words, count_ngrams

# Guards of the COCO code against 0 / 0. They show if there is no n-gram of an order: perfect
# captions of three words have BLEU-4 (1e-15 / 1e-9) ** (1 / 4) = 0.03, not 0.
_TINY = 1e-15
_SMALL = 1e-9


class BleuCounts(NamedTuple):
    """Counts of each image; corpus BLEU is a function of their sums over B.

    Attributes:
        matches: float64 [B, 4], n-grams of the candidate that a reference has too, each counted at
            most as often as one reference has it.
        guesses: float64 [B, 4], n-grams of the candidate.
        lengths: float64 [B], words of the candidate.
        reference_lengths: float64 [B], words of the reference nearest to it in length, the shorter
            of two equally near ones.
    """

    matches: np.ndarray
    guesses: np.ndarray
    lengths: np.ndarray
    reference_lengths: np.ndarray


def count_bleu(candidates: Sequence[Words], references: Sequence[Sequence[Words]]) -> BleuCounts:
    """Counts n-grams and words of each image.

    Args:
        candidates: [B] captions, as words.
        references: [B] lists of captions, as words; none empty.

    Returns:
        The counts.
    """
    matches = np.zeros((len(candidates), MAX_ORDER))
    for row, (candidate, group) in enumerate(zip(candidates, references, strict=True)):
        allowed = _greatest_counts(group)
        for ngram, count in count_ngrams(candidate).items():
            matches[row, len(ngram) - 1] += min(count, allowed[ngram])
    lengths = np.array([len(candidate) for candidate in candidates], float)
    guesses = np.maximum(lengths[:, np.newaxis] - np.arange(MAX_ORDER), 0.0)
    pairs = zip(candidates, references, strict=True)
    nearest = np.array([_nearest_length(len(words), group) for words, group in pairs], float)
    return BleuCounts(matches, guesses, lengths, nearest)


def bleu(
    matches: np.ndarray, guesses: np.ndarray, length: np.ndarray, reference_length: np.ndarray
) -> np.ndarray:
    """Computes BLEU from sums over images: geometric mean of the precisions x brevity penalty.

    Args:
        matches: [..., 4] sums of `BleuCounts.matches`; any leading shape (resamples, for instance).
        guesses: [..., 4] sums of `BleuCounts.guesses`.
        length: [...] sums of `BleuCounts.lengths`.
        reference_length: [...] sums of `BleuCounts.reference_lengths`.

    Returns:
        float64 [..., 4]: BLEU-1 to BLEU-4, each in [0, 1].
    """
    precisions = (matches + _TINY) / (guesses + _SMALL)
    orders = np.arange(1, MAX_ORDER + 1)
    ratio = (length + _TINY) / (reference_length + _SMALL)
    penalty = np.exp(np.minimum(1.0 - 1.0 / ratio, 0.0))
    return np.cumprod(precisions, axis=-1) ** (1.0 / orders) * penalty[..., np.newaxis]


def _greatest_counts(references: Sequence[Words]) -> Counter[NGram]:
    """How often each n-gram stands in the reference that has it most often."""
    greatest: Counter[NGram] = Counter()
    for words in references:
        greatest |= count_ngrams(words)
    return greatest


def _nearest_length(length: int, references: Sequence[Words]) -> int:
    """Length of the reference nearest in length, the shorter of two equally near ones."""
    return min((abs(len(words) - length), len(words)) for words in references)[1]
