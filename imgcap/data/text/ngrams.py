"""N-grams of numbered captions, in how many images each stands, and the constants of CIDEr-D."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imgcap import files
from imgcap.data.text.vocabulary import PAD, Vocabulary
from imgcap.errors import DataError

MAX_ORDER = 4
"""Words in the longest n-gram."""

SIGMA = 6.0
"""Width, in words, of CIDEr-D's Gaussian penalty on the difference in length to the reference."""

MAX_VOCABULARY = 55_108
"""Words of the largest vocabulary whose n-grams have numbers: V ** MAX_ORDER is below 2 ** 63."""

COUNT_AGAIN = (
    "remove it and run imgcap-evaluate --search=mbr with the --data_dir of the run, which counts "
    "anew"
)
"""The remedy if a file of document frequencies is damaged."""


@dataclass(frozen=True, eq=False)
class DocumentFrequencies:
    """In how many images' captions the n-grams of a training split stand, by their numbers.

    Those of a single image are left out, about four fifths: CIDEr-D takes an n-gram that is
    nowhere for one of a single image.

    Attributes:
        keys: int64 [n], rising, as `ngram_keys` numbers n-grams.
        counts: int64 [n], images in whose captions each stands, at least 2.
        images: how many were counted.
        vocabulary_size: V.
    """

    keys: np.ndarray
    counts: np.ndarray
    images: int
    vocabulary_size: int

    @classmethod
    def count(cls, references: Iterable[np.ndarray], vocabulary_size: int) -> "DocumentFrequencies":
        """Counts for each n-gram the images in whose references it stands.

        Args:
            references: int [N, T] for each image, its captions with the end token and padding.
            vocabulary_size: V.

        Returns:
            The counts.

        Raises:
            DataError: the vocabulary is too large, or there are no images.
        """
        if vocabulary_size > MAX_VOCABULARY:
            raise DataError(
                f"a vocabulary of {vocabulary_size:,} words has too many n-grams for CIDEr-D in "
                f"the graph, which takes {MAX_VOCABULARY:,} words: prepare the data with a greater "
                "--min_count"
            )
        found: list[np.ndarray] = []
        for captions in references:
            of_all_orders = [
                ngram_keys(captions, order, vocabulary_size).ravel()
                for order in range(1, MAX_ORDER + 1)
            ]
            held = np.unique(np.concatenate(of_all_orders))
            found.append(held[held > 0])
        if not found:
            raise DataError("there are no training images, so no n-gram has a document frequency")
        keys, counts = np.unique(np.concatenate(found), return_counts=True)
        several = counts > 1
        return cls(keys[several], counts[several], len(found), vocabulary_size)

    @classmethod
    def load(cls, path: Path, vocabulary: Vocabulary) -> "DocumentFrequencies":
        """Reads what `save` wrote.

        Args:
            path: the file.
            vocabulary: whose words the n-grams must have.

        Returns:
            The counts.

        Raises:
            DataError: the file cannot be read, is damaged, or is of another vocabulary.
        """
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
                keys = np.cumsum(arrays["key_differences"])
                counts, images = arrays["counts"].astype(np.int64), int(arrays["images"])
                fingerprint = str(arrays["vocabulary"])
        # Of a damaged archive numpy and zipfile raise nearly everything.
        except Exception as error:
            raise DataError(f"{path} can't be read ({error}): {COUNT_AGAIN}") from None
        if fingerprint != vocabulary.fingerprint:
            raise DataError(
                f"{path} is of the vocabulary {fingerprint}, the run's is "
                f"{vocabulary.fingerprint}: {COUNT_AGAIN}"
            )
        return cls(keys, counts, images, len(vocabulary))

    def save(self, path: Path, vocabulary: Vocabulary) -> None:
        """Writes the counts to a file in one step; the folder must exist.

        The archive has a checksum of each array. Differences of keys are small numbers that
        compress to a third.

        Args:
            path: of the file, an .npz.
            vocabulary: whose words the n-grams have.
        """
        content = io.BytesIO()
        np.savez_compressed(
            content,
            key_differences=np.diff(self.keys, prepend=0),
            counts=self.counts.astype(np.uint32),
            images=np.int64(self.images),
            vocabulary=np.array(vocabulary.fingerprint),
        )
        files.write_bytes(path, content.getvalue())


def ngram_keys(captions: np.ndarray, order: int, vocabulary_size: int) -> np.ndarray:
    """Numbers n-grams: their words are digits to base V.

    With V = 10 the bigram (3, 7) is 37. No word is 0, so no two orders share a number.

    Args:
        captions: int [..., T], words, end, padding.
        order: n; V ** n must stay below 2 ** 63.
        vocabulary_size: V.

    Returns:
        int64 [..., T - n + 1], 0 for an n-gram that would reach into the padding.
    """
    captions = captions.astype(np.int64)
    length = max(0, captions.shape[-1] - order + 1)
    keys, real = np.zeros_like(captions[..., :length]), np.ones_like(captions[..., :length], bool)
    for place in range(order):
        words = captions[..., place : place + length]
        keys, real = keys * vocabulary_size + words, real & (words != PAD)
    return np.where(real, keys, 0)
