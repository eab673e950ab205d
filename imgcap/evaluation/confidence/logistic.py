"""Logistic regression with a ridge, by Newton's method: a handful of inputs and one fit."""

import numpy as np

from imgcap.model.confidence import Regression

RIDGE = 10.0
"""Penalty on half the squared weights of standardised inputs, in nats; of 500 dev images a fifth of
their information, so that what they say of the five inputs by chance weighs little."""
STEPS = 50
LEAST_SCALE = 1e-6


def fit_regression(inputs: np.ndarray, good: np.ndarray) -> Regression:
    """Fits the probability that a caption is good.

    Args:
        inputs: float [N, 5].
        good: bool [N].

    Returns:
        The regression; an input that never changes has no weight.
    """
    means, scales = inputs.mean(axis=0), inputs.std(axis=0)
    constant = scales < LEAST_SCALE
    scales = np.where(constant, 1.0, scales)
    standard = np.where(constant, 0.0, (inputs - means) / scales)
    design = np.column_stack([standard, np.ones(len(inputs))])
    # Two imagined captions, one good, one not: no fit is ever certain, however few the images.
    design = np.vstack([design, *[np.append(np.zeros(inputs.shape[1]), 1.0)] * 2])
    labels = np.append(good.astype(np.float64), [1.0, 0.0])
    penalty = np.diag([RIDGE] * inputs.shape[1] + [0.0])
    weights = np.zeros(design.shape[1])
    for _ in range(STEPS):
        probabilities = _sigmoid(design @ weights)
        gradient = design.T @ (probabilities - labels) + penalty @ weights
        curvature = design.T @ (design * (probabilities * (1 - probabilities))[:, None]) + penalty
        change = np.linalg.solve(curvature, gradient)
        weights -= change
        if np.abs(change).max() < 1e-9:
            break
    return Regression(
        means.astype(np.float32),
        scales.astype(np.float32),
        weights[:-1].astype(np.float32),
        np.asarray(weights[-1], np.float32),
    )


def predict(regression: Regression, inputs: np.ndarray) -> np.ndarray:
    """The probability that captions are good.

    Args:
        regression: fitted.
        inputs: float [..., 5].

    Returns:
        float64 [...] in [0, 1].
    """
    standard = (inputs - regression.means) / regression.scales
    return _sigmoid(standard @ regression.weights.astype(np.float64) + regression.bias)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * logits))
