"""CIDEr-D (Vedantam et al. 2015), as the COCO caption evaluation computes it.

The fewer images have an n-gram in their references, the more it weighs. The references are counted
and weighed once; a candidate then costs about 60 microseconds.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from imgcap.data.text.ngrams import MAX_ORDER, SIGMA
from imgcap.errors import DataError
from imgcap.evaluation.scores.ngrams import NGram, Words, count_ngrams


class WeightedCaption(NamedTuple):
    """A caption as a vector of weighted n-grams.

    Attributes:
        weights: n-gram to its count times its rarity.
        norms: [4], Euclidean norm of the part of each order.
    """

    weights: dict[NGram, float]
    norms: list[float]


@dataclass(frozen=True)
class DocumentFrequencies:
    """The rarity of n-grams in the references of images (inverse document frequency).

    Attributes:
        rarities: n-gram to log(images / images with it), for each n-gram that occurs.
        images: number of images.
    """

    rarities: Mapping[NGram, float]
    images: int

    @classmethod
    def build(cls, references: Sequence[Sequence[Words]]) -> "DocumentFrequencies":
        """Counts the n-grams of a set of references.

        Args:
            references: [B] lists of captions, as words.

        Returns:
            The rarities.

        Raises:
            DataError: there is no image.
        """
        if not references:
            raise DataError(
                "no references to take document frequencies from: give at least one image"
            )
        counts: Counter[NGram] = Counter()
        for group in references:
            counts.update({ngram for words in group for ngram in count_ngrams(words)})
        images = len(references)
        return cls({ngram: math.log(images / count) for ngram, count in counts.items()}, images)

    @property
    def unseen(self) -> float:
        """Rarity of an n-gram that no reference has: as if a single image had it."""
        return math.log(self.images)

    def weigh(self, words: Words) -> WeightedCaption:
        """Turns a caption into its vector of weighted n-grams."""
        weights: dict[NGram, float] = {}
        squares = [0.0] * MAX_ORDER
        unseen = self.unseen
        for ngram, count in count_ngrams(words).items():
            weight = count * self.rarities.get(ngram, unseen)
            weights[ngram] = weight
            squares[len(ngram) - 1] += weight * weight
        return WeightedCaption(weights, [math.sqrt(square) for square in squares])


class _References(NamedTuple):
    """The weighted references of one image.

    Attributes:
        holders: n-gram to the numbers of the references that have it, with its weight there.
        norms: [references][4], Euclidean norm of the part of each order.
        lengths: words of each reference.
    """

    holders: dict[NGram, list[tuple[int, float]]]
    norms: list[list[float]]
    lengths: list[int]


class Cider:
    """CIDEr-D against the references of fixed images."""

    def __init__(
        self, references: Sequence[Sequence[Words]], frequencies: DocumentFrequencies | None = None
    ) -> None:
        """Weighs all references once.

        Args:
            references: [B] lists of captions, as words; none empty.
            frequencies: the rarity of n-grams; that in these references if None, as the field
                reports it.
        """
        self.frequencies = frequencies or DocumentFrequencies.build(references)
        self._images = [_weigh_references(group, self.frequencies) for group in references]

    def score(self, image: int, candidate: Words) -> float:
        """Computes the CIDEr-D of one caption.

        Args:
            image: which image, in [0, B).
            candidate: a caption, as words; may be empty.

        Returns:
            A score in [0, 10], 10 for the one reference itself; the field reports means of it times
            100.
        """
        references = self._images[image]
        weights, norms = self.frequencies.weigh(candidate)
        products = [[0.0] * MAX_ORDER for _ in references.lengths]
        for ngram, weight in weights.items():
            for reference, held in references.holders.get(ngram, ()):
                # Clipped, so that repeating a rare word gains nothing.
                products[reference][len(ngram) - 1] += min(weight, held) * held
        total = 0.0
        for product, held_norms, length in zip(
            products, references.norms, references.lengths, strict=True
        ):
            cosines = map(_divide, product, norms, held_norms)
            total += sum(cosines) * _length_factor(len(candidate), length)
        return 10.0 * total / (MAX_ORDER * len(references.lengths))

    def score_all(self, candidates: Sequence[Words]) -> np.ndarray:
        """Computes the CIDEr-D of one caption for each image.

        Args:
            candidates: [B] captions, as words.

        Returns:
            float64 [B], each in [0, 10].
        """
        if len(candidates) != len(self._images):
            raise ValueError(f"{len(candidates)} candidates for {len(self._images)} images")
        return np.array([self.score(image, words) for image, words in enumerate(candidates)])


def _weigh_references(references: Sequence[Words], frequencies: DocumentFrequencies) -> _References:
    """Weighs the references of one image."""
    holders: dict[NGram, list[tuple[int, float]]] = {}
    norms = []
    for number, words in enumerate(references):
        weighted = frequencies.weigh(words)
        norms.append(weighted.norms)
        for ngram, weight in weighted.weights.items():
            holders.setdefault(ngram, []).append((number, weight))
    return _References(holders, norms, [len(words) for words in references])


def _length_factor(length: int, reference_length: int) -> float:
    """Gaussian penalty on the difference in length, in (0, 1]."""
    # The COCO code counts a caption's bigrams for its length, so no word and one word are equally
    # long.
    difference = max(length - 1, 0) - max(reference_length - 1, 0)
    return math.exp(-(difference**2) / (2 * SIGMA**2))


def _divide(product: float, norm: float, reference_norm: float) -> float:
    """Cosine from a product and two norms; 0 if a norm is 0."""
    # A norm is 0 if the caption is too short for the order, or if all images share all its n-grams.
    return product / (norm * reference_norm) if norm and reference_norm else 0.0
