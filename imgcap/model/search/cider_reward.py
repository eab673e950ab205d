"""CIDEr-D in the graph, on word numbers: the reward of self-critical training.

The same score as `imgcap.evaluation.scores.cider` gives (a test holds the two together), as tensor
operations over a whole batch: training neither leaves the graph nor waits for Python. The end token
counts as a word, because a reward that cannot see it teaches captions that end in "on a" (Luo 2020,
section 3).
"""

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from imgcap.data.text.ngrams import MAX_ORDER, SIGMA
from imgcap.data.text.vocabulary import PAD


class CiderReward:
    """CIDEr-D by document frequencies that are counted once, before training."""

    def __init__(
        self, keys: np.ndarray, rarities: np.ndarray, images: int, vocabulary_size: int
    ) -> None:
        """Makes the table of rarities.

        Args:
            keys: int64 [n], n-grams as `ngram_keys` numbers them.
            rarities: float32 [n], log(images / images with the n-gram).
            images: number of images that were counted.
            vocabulary_size: V.
        """
        self._vocabulary_size = vocabulary_size
        self._table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(tf.constant(keys), tf.constant(rarities)),
            float(np.log(images)),
        )

    @classmethod
    def build(cls, references: Iterable[np.ndarray], vocabulary_size: int) -> "CiderReward":
        """Counts for each n-gram the images in whose references it stands.

        Args:
            references: int [N, T] for each image, its captions with the end token and padding.
            vocabulary_size: V.

        Returns:
            The reward.
        """
        found: list[np.ndarray] = []
        images = 0
        for captions in references:
            of_all_orders = [
                ngram_keys(captions, order, vocabulary_size).ravel()
                for order in range(1, MAX_ORDER + 1)
            ]
            held = np.unique(np.concatenate(of_all_orders))
            found.append(held[held > 0])
            images += 1
        keys, counts = np.unique(np.concatenate(found), return_counts=True)
        return cls(keys, np.log(images / counts).astype(np.float32), images, vocabulary_size)

    def __call__(self, candidates: tf.Tensor, references: tf.Tensor) -> tf.Tensor:
        """Scores captions against the references of their images.

        Args:
            candidates: int32 [B, S, T], words, end, padding.
            references: int32 [B, N, T'], the same; rows of padding alone are no references.

        Returns:
            float32 [B, S] in 0..10; 0 for an image without references.
        """
        total = tf.add_n(
            [self._cosines(candidates, references, order) for order in range(1, MAX_ORDER + 1)]
        )
        lengths = [_bigrams(captions) for captions in (candidates, references)]
        difference = lengths[0][:, :, tf.newaxis] - lengths[1][:, tf.newaxis]  # -> [B, S, N]
        total *= tf.exp(-tf.square(difference) / (2 * SIGMA**2))
        real = tf.cast(tf.reduce_any(references != PAD, axis=-1), tf.float32)[
            :, tf.newaxis
        ]  # -> [B, 1, N]
        mean = tf.math.divide_no_nan(
            tf.reduce_sum(total * real, axis=-1), tf.reduce_sum(real, axis=-1)
        )
        return 10.0 / MAX_ORDER * mean

    def _cosines(self, candidates: tf.Tensor, references: tf.Tensor, order: int) -> tf.Tensor:
        """Computes the clipped cosine of the n-grams of one order: float32 [B, S, N]."""
        own, other = (self._keys(captions, order) for captions in (candidates, references))
        rarities = self._rarities(own)
        # An n-gram that stands c times in its caption is met c times in a sum over places, and so
        # is divided by c.
        counts = _count(own[:, :, :, tf.newaxis] == own[:, :, tf.newaxis])  # -> [B, S, T]
        held = _count(
            own[:, :, tf.newaxis, :, tf.newaxis] == other[:, tf.newaxis, :, tf.newaxis]
        )  # -> [B, S, N, T]
        clipped = (
            tf.minimum(counts[:, :, tf.newaxis], held)
            * held
            / tf.maximum(counts, 1.0)[:, :, tf.newaxis]
        )
        products = tf.reduce_sum(
            clipped * tf.square(rarities)[:, :, tf.newaxis], axis=-1
        )  # -> [B, S, N]
        norms = tf.sqrt(tf.reduce_sum(counts * tf.square(rarities), axis=-1))  # -> [B, S]
        other_counts = _count(other[:, :, :, tf.newaxis] == other[:, :, tf.newaxis])
        other_norms = tf.sqrt(
            tf.reduce_sum(other_counts * tf.square(self._rarities(other)), axis=-1)
        )  # -> [B, N]
        return tf.math.divide_no_nan(products, norms[:, :, tf.newaxis] * other_norms[:, tf.newaxis])

    def _keys(self, captions: tf.Tensor, order: int) -> tf.Tensor:
        """Does in the graph what `ngram_keys` does: int64 [..., T - order + 1]."""
        captions = tf.cast(captions, tf.int64)
        length = tf.maximum(tf.shape(captions)[-1] - order + 1, 0)
        keys, real = (
            tf.zeros_like(captions[..., :length]),
            tf.ones_like(captions[..., :length], tf.bool),
        )
        for place in range(order):
            words = captions[..., place : place + length]
            keys, real = keys * self._vocabulary_size + words, real & (words != PAD)
        return tf.where(real, keys, 0)

    def _rarities(self, keys: tf.Tensor) -> tf.Tensor:
        return tf.where(keys > 0, self._table.lookup(keys), 0.0)


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


def _count(equal: tf.Tensor) -> tf.Tensor:
    # 0 marks no n-gram; it equals itself and is counted too, but its rarity of 0 takes it out
    # again.
    return tf.reduce_sum(tf.cast(equal, tf.float32), axis=-1)


def _bigrams(captions: tf.Tensor) -> tf.Tensor:
    """Counts a caption's bigrams, its length in `imgcap.evaluation.scores.cider`: float32 [...]."""
    words = tf.math.count_nonzero(captions, axis=-1, dtype=tf.float32)
    return tf.maximum(words - 1.0, 0.0)
