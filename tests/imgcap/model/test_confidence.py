"""Confidence in the graph against numpy: its inputs by hand, its distance by a whole covariance."""

import numpy as np
import tensorflow as tf

from imgcap.evaluation.confidence.logistic import predict
from imgcap.model.confidence import (
    Calibration,
    Confidence,
    FeatureDistance,
    FeatureSpread,
    Regression,
    caption_inputs,
)
from imgcap.model.search import Captions

SPREAD = FeatureSpread(
    mean=np.array([1, 0, 2], np.float32),
    directions=np.array([[0.6], [0.8], [0]], np.float32),
    deviations=np.array([2], np.float32),
    rest=np.float32(0.5),
)
SEVERAL = Regression(
    np.array([-3, -1, 2, 0, 1], np.float32),
    np.array([2, 1, 1, 2, 0.5], np.float32),
    np.array([1.5, 0.5, 0.2, 0.4, -1.0], np.float32),
    np.float32(-0.3),
)
SINGLE = SEVERAL._replace(bias=np.float32(0.7))


def captions() -> Captions:
    """Two images of three captions; the second image has one caption, the others were not found."""
    token_log_probs = [
        [[-1, -2, 0], [-4, 0, 0], [-3, -3, 0]],
        [[-0.5, -0.1, -0.2], [0, 0, 0], [0, 0, 0]],
    ]
    return Captions(
        tokens=tf.zeros([2, 3, 3], tf.int32),
        scores=tf.constant([[-3.0, -4.0, -6.0], [-0.8, -np.inf, -np.inf]]),
        log_probs=tf.zeros([2, 3]),
        token_log_probs=tf.constant(token_log_probs, tf.float32),
        lengths=tf.constant([[2, 1, 2], [3, 0, 0]]),
    )


def test_inputs_by_hand() -> None:
    found = caption_inputs(captions(), tf.constant([0.9, 1.4]))
    expected = [
        [[-3, -2, 2, 1, 0.9], [-4, -4, 1, -1, 0.9], [-6, -3, 2, -3, 0.9]],
        [[-0.8, -0.5, 3, 0, 1.4], [0] * 5, [0] * 5],
    ]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_inputs_do_not_depend_on_the_order_of_captions() -> None:
    """A search by minimum Bayes risk does not sort captions by score."""
    order = [1, 2, 0]
    distance = tf.constant([0.9, 1.4])
    mixed = Captions(*(tf.gather(field, order, axis=1) for field in captions()))
    np.testing.assert_array_equal(
        caption_inputs(mixed, distance), caption_inputs(captions(), distance).numpy()[:, order]
    )


def test_distance_is_that_of_the_whole_covariance() -> None:
    features = np.random.default_rng(0).normal(size=[4, 5, 3]).astype(np.float32)
    found = FeatureDistance(SPREAD)(tf.constant(features))
    direction = SPREAD.directions
    along = direction @ direction.T
    covariance = 4.0 * along + 0.25 * (np.eye(3) - along)
    centred = features.mean(axis=1) - SPREAD.mean
    squares = np.einsum("bc,cd,bd->b", centred, np.linalg.inv(covariance), centred)
    np.testing.assert_allclose(found, np.sqrt(squares / 3), rtol=1e-5)


def test_the_graph_is_the_regression() -> None:
    confidence = Confidence(Calibration(SPREAD, SEVERAL, SINGLE))
    features = tf.random.stateless_normal([2, 4, 3], [1, 2])
    inputs = caption_inputs(captions(), FeatureDistance(SPREAD)(features)).numpy()
    found = tf.function(confidence)(features, captions()).numpy()
    np.testing.assert_allclose(found[0], predict(SEVERAL, inputs[0]), atol=1e-6)
    np.testing.assert_allclose(found[1, 0], predict(SEVERAL, inputs[1, 0]), atol=1e-6)
    assert found[1, 1:].tolist() == [0, 0], "what was not found is nothing to trust"


def test_one_caption_has_a_regression_of_its_own() -> None:
    confidence = Confidence(Calibration(SPREAD, SEVERAL, SINGLE))
    features = tf.random.stateless_normal([2, 4, 3], [1, 2])
    alone = Captions(*(field[:, :1] for field in captions()))
    inputs = caption_inputs(alone, FeatureDistance(SPREAD)(features)).numpy()
    assert not inputs[:, 0, 3].any(), "there is no runner-up"
    np.testing.assert_allclose(confidence(features, alone), predict(SINGLE, inputs), atol=1e-6)
