"""Schedules by hand, and one step of AdamW by the paper's formula."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from imgcap.config import TrainConfig
from imgcap.training.optimizer import make_optimizer, make_schedule


def rates(total: int = 100, **values) -> list[float]:
    schedule = make_schedule(TrainConfig(learning_rate=1.0, **values), total)
    return [float(schedule(step)) if callable(schedule) else schedule for step in range(total)]


def test_constant() -> None:
    assert rates(schedule="constant") == [1.0] * 100


def test_cosine_ends_at_zero() -> None:
    found = rates(schedule="cosine")
    np.testing.assert_allclose(found, (1 + np.cos(np.pi * np.arange(100) / 100)) / 2, atol=1e-6)


def test_step_drops_twice() -> None:
    found = rates(schedule="step")
    np.testing.assert_allclose(
        [found[0], found[50], found[51], found[75], found[76], found[99]],
        [1, 1, 0.1, 0.1, 0.01, 0.01],
    )


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
def test_warm_up_rises_to_the_peak(schedule: str) -> None:
    found = rates(schedule=schedule, warmup_steps=9)
    assert found[0] <= 0.11
    assert all(a < b for a, b in zip(found[:9], found[1:10], strict=False))
    assert found[9] == pytest.approx(1.0, abs=0.01)


def test_one_step_by_the_formula() -> None:
    kernel, bias = keras.Variable(np.full([2, 2], 3.0)), keras.Variable(np.full([2], 3.0))
    slow = keras.Variable(np.full([2, 2], 3.0))
    config = TrainConfig(
        learning_rate=0.1,
        encoder_learning_rate=0.01,
        schedule="constant",
        weight_decay=0.5,
        clip_norm=0.0,
    )
    optimizer = make_optimizer(config, [kernel, bias], [slow], total_steps=10)
    optimizer.apply(
        [tf.fill(variable.shape, 2.0) for variable in (kernel, bias, slow)], [kernel, bias, slow]
    )
    # The first step of Adam is the learning rate in the gradient's direction, whatever its size.
    np.testing.assert_allclose(kernel, 3 - 0.1 * 0.5 * 3 - 0.1, rtol=1e-5)
    np.testing.assert_allclose(bias, 3 - 0.1, rtol=1e-5)
    np.testing.assert_allclose(slow, 3 - 0.01, rtol=1e-5)
