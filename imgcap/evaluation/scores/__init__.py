"""Scores of captions: BLEU, ROUGE-L and CIDEr-D, as the COCO caption evaluation computes them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from imgcap.config.prepare import WORD
from imgcap.data.text.ngrams import MAX_ORDER
from imgcap.data.text.tokenisation import TOKENISATIONS, join_words, normalise
from imgcap.errors import DataError
from imgcap.evaluation.scores.bleu import bleu, count_bleu
from imgcap.evaluation.scores.bootstrap import percentile_interval, resample
from imgcap.evaluation.scores.cider import Cider, DocumentFrequencies
from imgcap.evaluation.scores.constant import best_constant
from imgcap.evaluation.scores.ngrams import Words
from imgcap.evaluation.scores.rouge import rouge_l

__all__ = ["NAMES", "resampled_scores", "score_captions", "score_each"]

NAMES = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider")
"""The keys of the scores."""


class _ScoredSet(NamedTuple):
    """Captions and references as words, in alphabetical order of the images.

    Attributes:
        images: their names.
        candidates: the words of each image's caption.
        references: the words of each image's true captions.
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
    tokenizer: str = WORD,
) -> dict[str, Any]:
    """Scores a set of captions against what people wrote, as the COCO caption evaluation does.

    For example::

        references = {"1.jpg": ["a brown dog runs", "a dog"], "2.jpg": ["two kids play"]}
        scores = score_captions({"1.jpg": "a dog runs", "2.jpg": "two children play"}, references)

    Captions and references are plain text; both are split into words by the same rules.

    Args:
        candidates: image to its caption, as text; a text may be empty.
        references: image to its true captions, as text; the same images, at least one caption each.
        bootstrap_samples: resamples for the intervals; 0 leaves `intervals` empty.
        seed: of the resampling.
        frequencies: CIDEr's document frequencies; None takes those of `references`, as usual.
        tokenizer: how texts are split, 'word' or 'character'; that of the run, by its vocabulary.

    Returns:
        A tree that JSON can hold. Every score is x 100.

        - `bleu_1` to `bleu_4`, `rouge_l`, `cider`: the scores.
        - `intervals`: for each of them [low, high], the middle 95 % of a bootstrap over images, in
          which the document frequencies stay as they are.
        - `constant_caption`: the floor, a `caption` chosen from the references to score high when
          given to every image (see `imgcap.evaluation.scores.constant`), and its scores.
        - `images`: how many; `mean_length` and `mean_reference_length`: in words; `tokenizer`.
        - `tokenisation`: the rules by which words were split, for people.

    Raises:
        DataError: no image, other images in the one mapping than in the other, or an image without
            reference.
    """
    scored = _normalise(candidates, references, tokenizer)
    cider = Cider(scored.references, frequencies)
    statistics = _collect_statistics(scored.candidates, scored.references, cider)
    intervals: dict[str, list[float]] = {}
    if bootstrap_samples:
        resampled = resample(statistics, _score_sums, bootstrap_samples, seed)
        intervals = dict(zip(NAMES, percentile_interval(resampled).tolist(), strict=True))
    return {
        **_name_scores(statistics),
        "intervals": intervals,
        "constant_caption": _score_constant(scored, cider, tokenizer),
        "images": len(scored.images),
        "mean_length": _mean_length(scored.candidates),
        "mean_reference_length": _mean_length(
            [words for group in scored.references for words in group]
        ),
        "tokenisation": TOKENISATIONS[tokenizer],
        "tokenizer": tokenizer,
    }


def _score_constant(scored: _ScoredSet, cider: Cider, tokenizer: str) -> dict[str, Any]:
    """The caption that scores high when given to every image, and its scores."""
    constant = best_constant(scored.references, cider)
    floor = _collect_statistics([constant] * len(scored.images), scored.references, cider)
    return {"caption": _write_out(constant, tokenizer), **_name_scores(floor)}


def score_each(
    candidates: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    *,
    frequencies: DocumentFrequencies | None = None,
    tokenizer: str = WORD,
) -> dict[str, float]:
    """Computes the CIDEr of each image x 100; their mean is the `cider` of `score_captions`.

    Args:
        candidates: as for `score_captions`.
        references: as for `score_captions`.
        frequencies: as for `score_captions`.
        tokenizer: as for `score_captions`.

    Returns:
        Image to score, in [0, 1000], images in alphabetical order.

    Raises:
        DataError: as `score_captions`.
    """
    scored = _normalise(candidates, references, tokenizer)
    scores = 100.0 * Cider(scored.references, frequencies).score_all(scored.candidates)
    return dict(zip(scored.images, scores.tolist(), strict=True))


def resampled_scores(
    candidates: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    samples: int,
    seed: int,
    *,
    tokenizer: str = WORD,
) -> np.ndarray:
    """Scores sets of images that are drawn with replacement.

    Args:
        candidates: as for `score_captions`.
        references: as for `score_captions`.
        samples: how many sets to draw.
        seed: of the draws; the same seed draws the same images of two systems.
        tokenizer: as for `score_captions`.

    Returns:
        float64 [samples, 6], x 100, in the order of `NAMES`.

    Raises:
        DataError: as `score_captions`.
    """
    scored = _normalise(candidates, references, tokenizer)
    statistics = _collect_statistics(scored.candidates, scored.references, Cider(scored.references))
    return resample(statistics, _score_sums, samples, seed)


def _normalise(
    candidates: Mapping[str, str], references: Mapping[str, Sequence[str]], tokenizer: str
) -> _ScoredSet:
    """Splits captions and references into words; raises DataError if they do not fit together."""
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
        [normalise(candidates[image], tokenizer) for image in images],
        [[normalise(text, tokenizer) for text in references[image]] for image in images],
    )


def _write_out(words: Words, tokenizer: str) -> str:
    """A caption as text; of the word tokenizer as it was split ("a dog 's ball")."""
    texts = [str(word) for word in words]
    return " ".join(texts) if tokenizer == WORD else join_words(texts, tokenizer)


def _collect_statistics(
    candidates: Sequence[Words], references: Sequence[Sequence[Words]], cider: Cider
) -> np.ndarray:
    """Computes the numbers whose sums over images make the scores: float64 [B, 13].

    An image is a row; `_score_sums` reads the columns.
    """
    counts = count_bleu(candidates, references)
    rouge = [rouge_l(words, group) for words, group in zip(candidates, references, strict=True)]
    ones = np.ones(len(candidates))
    return np.column_stack([*counts, rouge, cider.score_all(candidates), ones])


def _score_sums(sums: np.ndarray) -> np.ndarray:
    """Turns sums over images [..., 13] into scores x 100 [..., 6], in the order of `NAMES`."""
    matches, guesses, rest = np.split(sums, [MAX_ORDER, 2 * MAX_ORDER], axis=-1)
    length, reference_length, rouge, cider, images = np.moveaxis(rest, -1, 0)
    means = np.stack([rouge / images, cider / images], axis=-1)
    return 100.0 * np.concatenate(
        [bleu(matches, guesses, length, reference_length), means], axis=-1
    )


def _name_scores(statistics: np.ndarray) -> dict[str, float]:
    """The scores of all images, by name, from their statistics [B, 13]."""
    return dict(zip(NAMES, _score_sums(statistics.sum(axis=0)).tolist(), strict=True))


def _mean_length(captions: Sequence[Words]) -> float:
    """Mean number of words of a caption."""
    return sum(len(words) for words in captions) / len(captions)
