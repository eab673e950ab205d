"""Confidence: the calibrated probability that a caption is as good as a person's, in the graph.

A logistic regression on what the search knows anyway (score, least probable word, length, margin to
the runner-up) and on how far the image is from the training images. `imgcap.evaluation.confidence`
fits it on dev; the beam's score alone is no probability, and an image unlike any seen before can
still get a caption of a fair score.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from imgcap.model.search import Captions

INPUTS = ("score", "lowest_word", "length", "margin", "distance")
"""What the regression reads of a caption, in this order; see `caption_inputs`."""


class FeatureSpread(NamedTuple):
    """How the pooled features of training images spread: a Gaussian with a shrunk covariance.

    The covariance has its own variance along R directions and one variance for all others
    (probabilistic PCA, Tipping & Bishop 1999), since thousands of images say nothing of most of
    C × C numbers.

    Attributes:
        mean: float32 [C].
        directions: float32 [C, R], orthonormal columns.
        deviations: float32 [R], standard deviation along each, at least `rest`.
        rest: float32 [], standard deviation along every other direction, above 0.
    """

    mean: np.ndarray
    directions: np.ndarray
    deviations: np.ndarray
    rest: np.ndarray


class Regression(NamedTuple):
    """A logistic regression on standardised inputs.

    Attributes:
        means: float32 [5], of the inputs.
        scales: float32 [5], standard deviations of the inputs, above 0.
        weights: float32 [5].
        bias: float32 [].
    """

    means: np.ndarray
    scales: np.ndarray
    weights: np.ndarray
    bias: np.ndarray


class Calibration(NamedTuple):
    """All numbers of a run's confidence.

    Attributes:
        spread: of the pooled features of training images.
        several: for searches that return several captions.
        single: for searches that return one, which has no runner-up.
    """

    spread: FeatureSpread
    several: Regression
    single: Regression


class FeatureDistance:
    """The distance of an image's features from those of the training images, in the graph."""

    def __init__(self, spread: FeatureSpread) -> None:
        """Makes the variables; a graph holds them once, however many signatures use them.

        Args:
            spread: of the training images.
        """
        self._spread = spread
        self._mean = tf.Variable(spread.mean, trainable=False, name="feature_mean")
        self._directions = tf.Variable(
            spread.directions, trainable=False, name="feature_directions"
        )

    @property
    def variables(self) -> list[tf.Variable]:
        """The variables, for the module that is saved."""
        return [self._mean, self._directions]

    def __call__(self, features: tf.Tensor) -> tf.Tensor:
        """Computes how far images are from the training images (Mahalanobis).

        Args:
            features: float32 [B, L, C].

        Returns:
            float32 [B], divided by √C: about 1 for an image like those of training.
        """
        centred = tf.reduce_mean(features, axis=1) - self._mean  # -> [B, C]
        along = tf.matmul(centred, self._directions)  # -> [B, R]
        inside = tf.reduce_sum(tf.square(along / self._spread.deviations), axis=1)
        rest = tf.reduce_sum(tf.square(centred), axis=1) - tf.reduce_sum(tf.square(along), axis=1)
        # Rounding may leave a little below 0.
        outside = tf.maximum(rest, 0.0) / np.square(self._spread.rest)
        return tf.sqrt((inside + outside) / float(features.shape[2]))


class Confidence:
    """A calibration as a part of a graph."""

    def __init__(self, calibration: Calibration) -> None:
        """Makes the variables.

        Args:
            calibration: fitted on the captioner's own captions.
        """
        self._calibration = calibration
        self._distance = FeatureDistance(calibration.spread)

    @property
    def variables(self) -> list[tf.Variable]:
        """The variables, for the module that is saved."""
        return self._distance.variables

    def __call__(self, features: tf.Tensor, captions: Captions) -> tf.Tensor:
        """Computes the probability that each caption is as good as a person's.

        Args:
            features: float32 [B, L, C].
            captions: K of each image.

        Returns:
            float32 [B, K] in [0, 1]; 0 for a caption that was not found.
        """
        single = captions.scores.shape[1] == 1
        regression = self._calibration.single if single else self._calibration.several
        inputs = caption_inputs(captions, self._distance(features))
        standard = (inputs - regression.means) / regression.scales
        logits = tf.reduce_sum(standard * regression.weights, axis=-1) + regression.bias
        return tf.where(captions.lengths > 0, tf.sigmoid(logits), 0.0)


def caption_inputs(captions: Captions, distance: tf.Tensor) -> tf.Tensor:
    """Collects what the regression reads of captions.

    Args:
        captions: K of each image, best first.
        distance: float32 [B], of the images from those of training.

    Returns:
        float32 [B, K, 5], in the order of `INPUTS`: the score; the log-probability of the least
        probable word; the number of tokens; the score minus the best of the other captions' (0 if
        there is no other); the distance. Zeros where no caption was found.
    """
    found = captions.lengths > 0  # -> [B, K]
    scores = tf.where(found, captions.scores, 0.0)
    columns = [
        scores,
        tf.reduce_min(captions.token_log_probs, axis=-1),
        tf.cast(captions.lengths, tf.float32),
        _margins(tf.where(found, scores, -np.inf)),
        tf.broadcast_to(distance[:, tf.newaxis], tf.shape(scores)),
    ]
    return tf.where(found[..., tf.newaxis], tf.stack(columns, axis=-1), 0.0)


def _margins(scores: tf.Tensor) -> tf.Tensor:
    """Each score minus the best of the others of its image; 0 if no other was found.

    Worked example: [-4, -3, -6] has the margins [-1, 1, -3], in whatever order captions come.
    """
    if scores.shape[1] == 1:
        return tf.zeros_like(scores)
    best, places = tf.math.top_k(scores, 2)  # -> [B, 2]
    is_best = tf.range(scores.shape[1]) == places[:, :1]  # -> [B, K]
    others = tf.where(is_best, best[:, 1:], best[:, :1])
    return tf.where((scores > -np.inf) & (best[:, 1:] > -np.inf), scores - others, 0.0)
