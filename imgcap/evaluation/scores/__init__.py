"""What captions are worth: BLEU, ROUGE-L and CIDEr-D as the COCO caption evaluation computes
them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from imgcap.data.vocabulary import TOKENISATION, normalise
from imgcap.errors import DataError
from imgcap.evaluation.scores.bleu import bleu, count_bleu
from imgcap.evaluation.scores.bootstrap import percentile_interval, resample
from imgcap.evaluation.scores.cider import Cider, DocumentFrequencies
from imgcap.evaluation.scores.constant import best_constant
from imgcap.evaluation.scores.ngrams import MAX_ORDER, Words
from imgcap.evaluation.scores.rouge import rouge_l

NAMES = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider")
"""The scores, by their keys."""


class _ScoredSet(NamedTuple):
    """Captions and references as words, in the same order of images, whatever the order of the
    mappings.
    """

    images: list[str]
    candidates: list[list[str]]
    references: list[list[list[str]]]


def score_captions(
    candidates: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    *,
    bootstrap_samples: int = 1000,
    seed: int = 0,
    frequencies: DocumentFrequencies | None = None,
) -> dict[str, Any]:
    """Scores a set of captions; the one function that does.

    Args:
        candidates: image to its caption, as text; may be empty.
        references: image to its true captions, as text; the same images, at least one caption each.
        bootstrap_samples: resamples for the intervals; 0 leaves `intervals` empty.
        seed: of the resampling.
        frequencies: CIDEr's document frequencies; those of `references` if None, as the field
            reports it.

    Returns:
        A tree that JSON can hold, every score x 100:
        `bleu_1` to `bleu_4`, `rouge_l`, `cider`;
        `intervals`: for each of them [low, high], the middle 95 % of a bootstrap over images, in
        which the document frequencies stay as they are; `constant_caption`: the floor, a `caption`
        chosen from the references to score high when given to every image (see
        `imgcap.evaluation.scores.constant`), and its scores; `images`; `mean_length` and
        `mean_reference_length` in words; `tokenisation` in words for people.

    Raises:
        DataError: no image, other images in the one mapping than in the other, or an image without
            reference.
    """
    scored = _normalise(candidates, references)
    cider = Cider(scored.references, frequencies)
    statistics = _collect_statistics(scored.candidates, scored.references, cider)
    constant = best_constant(scored.references, cider)
    floor = _collect_statistics([constant] * len(scored.images), scored.references, cider)
    intervals: dict[str, list[float]] = {}
    if bootstrap_samples:
        resampled = resample(statistics, _score_sums, bootstrap_samples, seed)
        intervals = dict(zip(NAMES, percentile_interval(resampled).tolist(), strict=True))
    return {
        **_name_scores(statistics),
        "intervals": intervals,
        "constant_caption": {"caption": " ".join(constant), **_name_scores(floor)},
        "images": len(scored.images),
        "mean_length": _mean_length(scored.candidates),
        "mean_reference_length": _mean_length(
            [words for group in scored.references for words in group]
        ),
        "tokenisation": TOKENISATION,
    }


def score_each(
    candidates: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    *,
    frequencies: DocumentFrequencies | None = None,
) -> dict[str, float]:
    """CIDEr of each image x 100; the mean of these is the `cider` of `score_captions`.

    Args:
        candidates: as for `score_captions`.
        references: as for `score_captions`.
        frequencies: as for `score_captions`.

    Returns:
        Image to score, in [0, 1000], images in alphabetical order.

    Raises:
        DataError: as `score_captions`.
    """
    scored = _normalise(candidates, references)
    scores = 100.0 * Cider(scored.references, frequencies).score_all(scored.candidates)
    return dict(zip(scored.images, scores.tolist(), strict=True))


def resampled_scores(
    candidates: Mapping[str, str], references: Mapping[str, Sequence[str]], samples: int, seed: int
) -> np.ndarray:
    """The scores of sets drawn from the images with replacement.

    Args:
        candidates: as for `score_captions`.
        references: as for `score_captions`.
        samples: how many sets to draw.
        seed: of the draws; the same seed draws the same images of two systems.

    Returns:
        float64 [samples, 6], x 100, in the order of `NAMES`.

    Raises:
        DataError: as `score_captions`.
    """
    scored = _normalise(candidates, references)
    statistics = _collect_statistics(scored.candidates, scored.references, Cider(scored.references))
    return resample(statistics, _score_sums, samples, seed)


def _normalise(
    candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> _ScoredSet:
    if candidates.keys() != references.keys():
        image = min(candidates.keys() ^ references.keys())
        missing = "reference" if image in candidates else "caption"
        raise DataError(
            f"{len(candidates)} images with a caption, {len(references)} with references, {image} "
            f"has no {missing}: score the images that have references, all of them"
        )
    if not candidates:
        raise DataError("no image to score: give at least one caption with its references")
    images = sorted(candidates)
    for image in images:
        if not references[image]:
            raise DataError(
                f"{image} has no reference: give at least one caption, or leave the image out"
            )
    return _ScoredSet(
        images,
        [normalise(candidates[image]) for image in images],
        [[normalise(text) for text in references[image]] for image in images],
    )


def _collect_statistics(
    candidates: Sequence[Words], references: Sequence[Sequence[Words]], cider: Cider
) -> np.ndarray:
    """float64 [B, 13]: what all scores are sums of, an image a row; `_score_sums` reads the
    columns.
    """
    counts = count_bleu(candidates, references)
    rouge = [rouge_l(words, group) for words, group in zip(candidates, references, strict=True)]
    ones = np.ones(len(candidates))
    return np.column_stack([*counts, rouge, cider.score_all(candidates), ones])


def _score_sums(sums: np.ndarray) -> np.ndarray:
    """Scores x 100 [..., 6], in the order of `NAMES`, of sums [..., 13] of such rows."""
    matches, guesses, rest = np.split(sums, [MAX_ORDER, 2 * MAX_ORDER], axis=-1)
    length, reference_length, rouge, cider, images = np.moveaxis(rest, -1, 0)
    means = np.stack([rouge / images, cider / images], axis=-1)
    return 100.0 * np.concatenate(
        [bleu(matches, guesses, length, reference_length), means], axis=-1
    )


def _name_scores(statistics: np.ndarray) -> dict[str, float]:
    return dict(zip(NAMES, _score_sums(statistics.sum(axis=0)).tolist(), strict=True))


def _mean_length(captions: Sequence[Words]) -> float:
    return sum(len(words) for words in captions) / len(captions)
