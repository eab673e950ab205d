"""CIDEr-D in the graph, on word numbers: the reward of training, and what a search chooses by.

The same score as `imgcap.evaluation.scores.cider` gives (a test holds the two together), as tensor
operations over a whole batch: neither leaves the graph or waits for Python. The end token counts as
a word, because a reward that cannot see it teaches captions that end in "on a" (Luo 2020, section
3).
"""

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from imgcap.data.text.ngrams import MAX_ORDER, SIGMA, DocumentFrequencies
from imgcap.data.text.vocabulary import PAD


class CiderReward:
    """CIDEr-D by document frequencies that were counted once, of the training images."""

    def __init__(self, frequencies: DocumentFrequencies) -> None:
        """Makes the tables of rarities: variables, which all graphs that use them share.

        Args:
            frequencies: of the training images.
        """
        self._vocabulary_size = frequencies.vocabulary_size
        # A greatest number behind all keys, so that every key has a place among them.
        keys = np.append(frequencies.keys, np.iinfo(np.int64).max)
        self._unknown = np.log(frequencies.images).astype(np.float32)
        rarities = np.log(frequencies.images / frequencies.counts).astype(np.float32)
        self._known = tf.Variable(keys, trainable=False, name="ngrams")
        self._rarity = tf.Variable(
            np.append(rarities, self._unknown), trainable=False, name="ngram_rarities"
        )

    @classmethod
    def build(cls, references: Iterable[np.ndarray], vocabulary_size: int) -> "CiderReward":
        """Makes the reward of images by their references.

        Args:
            references: int [N, T] for each image, its captions with the end token and padding.
            vocabulary_size: V.

        Returns:
            The reward.
        """
        return cls(DocumentFrequencies.count(references, vocabulary_size))

    @property
    def variables(self) -> list[tf.Variable]:
        """The variables, for the module that is saved."""
        return [self._known, self._rarity]

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
        """Numbers n-grams as `imgcap.data.text.ngrams.ngram_keys`: int64 [..., T - order + 1]."""
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
        """Looks up log(images / images with the n-gram): float32, 0 for a key of 0."""
        places = tf.reshape(tf.searchsorted(self._known, tf.reshape(keys, [-1])), tf.shape(keys))
        known = tf.gather(self._known, places) == keys
        rarities = tf.where(known, tf.gather(self._rarity, places), self._unknown)
        return tf.where(keys > 0, rarities, 0.0)


def _count(equal: tf.Tensor) -> tf.Tensor:
    # 0 marks no n-gram; it equals itself and is counted too, but its rarity of 0 takes it out
    # again.
    return tf.reduce_sum(tf.cast(equal, tf.float32), axis=-1)


def _bigrams(captions: tf.Tensor) -> tf.Tensor:
    """Counts a caption's bigrams, its length in `imgcap.evaluation.scores.cider`: float32 [...]."""
    words = tf.math.count_nonzero(captions, axis=-1, dtype=tf.float32)
    return tf.maximum(words - 1.0, 0.0)
