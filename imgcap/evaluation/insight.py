"""Insight into a set of captions beside its scores: variety, repetition, and scores by subject."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from imgcap.config.prepare import WORD
from imgcap.data.text.tokenisation import normalise

# Bounds, in words, of the mean length of an image's references.
LENGTH_BOUNDS = (8, 10, 12, 14)
# A word is taken to be in the picture if this share of its references has it.
AGREEMENT = 0.6
OBJECT_WORDS = 15
# Words that say little about a picture; the other frequent words name what can be seen.
_FUNCTION_WORDS = """
    a an the and or of in on at to with by for from is are as while it its his her their he she they
    there this that through over under into up down out off near next front behind around another
    other some one two three who has have being wearing
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())


def describe(
    candidates: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    ciders: Mapping[str, float],
    tokenizer: str = WORD,
) -> dict[str, Any]:
    """Describes a set of captions.

    Args:
        candidates: image to its caption, as text.
        references: image to its true captions, as text.
        ciders: image to the CIDEr of its caption, x 100.
        tokenizer: how texts are split, 'word' or 'character'.

    Returns:
        A tree that JSON can hold:

        - `distinct_captions` and `vocabulary_used`: counts.
        - `repetitive`: the share of captions that say a pair of words twice.
        - `by_length`: for each range of the references' mean length in words, the number of images,
          their mean CIDEr and the mean length of their captions.
        - `by_object`: for each of the words that most pictures show, the number of images, their
          mean CIDEr, and `named`, the share of their captions that have the word.
    """
    words = {image: normalise(text, tokenizer) for image, text in candidates.items()}
    true_words = {
        image: [normalise(text, tokenizer) for text in group] for image, group in references.items()
    }
    return {
        "distinct_captions": len({tuple(caption) for caption in words.values()}),
        "vocabulary_used": len({word for caption in words.values() for word in caption}),
        "repetitive": _mean([float(_repeats_pair(caption)) for caption in words.values()]),
        "by_length": _by_length(words, true_words, ciders),
        "by_object": _by_object(words, true_words, ciders),
    }


def _repeats_pair(caption: Sequence[str]) -> bool:
    """Whether two words stand side by side twice, in the same order."""
    pairs = list(pairwise(caption))
    return len(set(pairs)) < len(pairs)


def _by_length(
    words: Mapping[str, list[str]],
    references: Mapping[str, list[list[str]]],
    ciders: Mapping[str, float],
) -> list[dict[str, Any]]:
    """Images grouped by the mean length of their references."""
    buckets: dict[int, list[str]] = {}
    for image, group in references.items():
        mean = _mean([float(len(reference)) for reference in group])
        buckets.setdefault(sum(mean >= bound for bound in LENGTH_BOUNDS), []).append(image)
    names = [
        f"below {LENGTH_BOUNDS[0]}",
        *(f"{low} to {high}" for low, high in pairwise(LENGTH_BOUNDS)),
    ]
    names.append(f"{LENGTH_BOUNDS[-1]} and more")
    return [
        {
            "words": names[bucket],
            "images": len(images),
            "cider": _mean([ciders[image] for image in images]),
            "mean_length": _mean([float(len(words[image])) for image in images]),
        }
        for bucket, images in sorted(buckets.items())
    ]


def _by_object(
    words: Mapping[str, list[str]],
    references: Mapping[str, list[list[str]]],
    ciders: Mapping[str, float],
) -> list[dict[str, Any]]:
    """Images grouped by the words on which most of their references agree."""
    showing: dict[str, list[str]] = {}
    for image, group in references.items():
        counts = Counter(word for reference in group for word in set(reference))
        for word, count in counts.items():
            if word not in FUNCTION_WORDS and count >= AGREEMENT * len(group):
                showing.setdefault(word, []).append(image)
    frequent = sorted(showing, key=lambda word: (-len(showing[word]), word))[:OBJECT_WORDS]
    return [
        {
            "word": word,
            "images": len(showing[word]),
            "cider": _mean([ciders[image] for image in showing[word]]),
            "named": _mean([float(word in words[image]) for image in showing[word]]),
        }
        for word in frequent
    ]


def _mean(values: Sequence[float]) -> float:
    """Mean of at least one number."""
    return sum(values) / len(values)
