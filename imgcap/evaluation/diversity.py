"""Diversity of the captions of one image: how many differ, and what the best of them is worth."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from imgcap.config.prepare import WORD
from imgcap.data.text.tokenisation import normalise
from imgcap.evaluation.scores.cider import Cider
from imgcap.evaluation.scores.ngrams import Words


def describe_diversity(
    groups: Mapping[str, Sequence[str]],
    references: Mapping[str, Sequence[str]],
    tokenizer: str = WORD,
) -> dict[str, Any]:
    """Describes how much the captions of each image differ.

    Args:
        groups: image to its captions, as text, at most K of them; at least one image.
        references: image to its true captions, as text; of the same images.
        tokenizer: how texts are split, 'word' or 'character'.

    Returns:
        A tree that JSON can hold, each value but the first a mean over the images:

        - `captions`: K.
        - `distinct`: how many of an image's captions differ from each other, as words.
        - `div_1` and `div_2`: distinct single words, and distinct pairs of neighbours, in an
          image's captions, divided by the words of all of them (Deshpande et al. 2019); 0 for an
          image without a word.
        - `oracle_cider`: CIDEr x 100 of the caption of an image that scores best, as if one knew
          which it is; 0 for an image without a caption.
    """
    images = sorted(groups)
    words = [[normalise(text, tokenizer) for text in groups[image]] for image in images]
    cider = Cider([[normalise(text, tokenizer) for text in references[image]] for image in images])
    best = [
        max((cider.score(at, caption) for caption in group), default=0.0)
        for at, group in enumerate(words)
    ]
    return {
        "captions": max(map(len, words)),
        "distinct": _mean([len({tuple(caption) for caption in group}) for group in words]),
        "div_1": _mean([_distinct_share(group, 1) for group in words]),
        "div_2": _mean([_distinct_share(group, 2) for group in words]),
        "oracle_cider": 100.0 * _mean(best),
    }


def _distinct_share(group: Sequence[Words], order: int) -> float:
    """Distinct n-grams of some captions, n = 1 or 2, by their words.

    Worked example: 'a dog', 'a cat' have 4 words, of which 3 are distinct, and the 2 distinct pairs
    'a dog' and 'a cat': 3 / 4 and 2 / 4.
    """
    total = sum(len(words) for words in group)
    ngrams = {
        ngram
        for words in group
        for ngram in (pairwise(words) if order == 2 else ((word,) for word in words))
    }
    return len(ngrams) / total if total else 0.0


def _mean(values: Sequence[float]) -> float:
    """Mean of at least one number."""
    return float(np.mean(values))
