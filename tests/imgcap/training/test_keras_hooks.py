"""The private parts of Keras that the optimizer is built on, each by its name.

They may vanish without notice, so the versions of Keras are pinned, and these tests say what broke.
"""

import inspect
from importlib import metadata

import keras
import numpy as np
import pytest
import tensorflow as tf
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from imgcap.config import TrainConfig
from imgcap.training.optimizer import ReplicatedAdam, make_optimizer, moving_averages

# With their parameters: what the optimizer overrides, and what it calls.
OVERRIDDEN = {
    "_all_reduce_sum_gradients": ["self", "grads_and_vars"],
    "update_step": ["self", "gradient", "variable", "learning_rate"],
}
CALLED = {"_get_variable_index": ["self", "variable"]}
REMEDY = (
    f"Keras {keras.__version__} has changed it: mend imgcap/training/optimizer.py, or narrow the "
    "versions in setup.cfg"
)


def test_keras_is_one_of_the_versions_that_were_tried() -> None:
    needed = [Requirement(line) for line in metadata.requires("imgcap-tf") or []]
    (allowed,) = {str(one.specifier) for one in needed if one.name == "keras"}
    assert ">=" in allowed and "<" in allowed, "a range with both ends"
    assert keras.__version__ in SpecifierSet(allowed), REMEDY


@pytest.mark.parametrize(("name", "parameters"), [*OVERRIDDEN.items(), *CALLED.items()])
def test_the_methods_are_there(name: str, parameters: list[str]) -> None:
    method = getattr(keras.optimizers.AdamW, name, None)
    assert method is not None, f"no AdamW.{name}: {REMEDY}"
    assert list(inspect.signature(method).parameters)[: len(parameters)] == parameters, (
        f"AdamW.{name}: {REMEDY}"
    )


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_the_overridden_methods_are_called(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    own = getattr(ReplicatedAdam, name)

    def note(self: ReplicatedAdam, *arguments: object) -> object:
        called.append(name)
        return own(self, *arguments)

    monkeypatch.setattr(ReplicatedAdam, name, note)
    weight = keras.Variable(np.ones([2, 2]))
    optimizer = make_optimizer(TrainConfig(), [weight], [], total_steps=2)
    optimizer.apply([tf.ones([2, 2])], [weight])
    assert called, f"AdamW.apply no longer calls {name}: {REMEDY}"


def test_the_moving_averages_are_there() -> None:
    weight = keras.Variable(np.ones([2, 2]))
    optimizer = make_optimizer(TrainConfig(ema_momentum=0.5), [weight], [], total_steps=2)
    assert hasattr(optimizer, "_model_variables_moving_average"), (
        f"no Optimizer._model_variables_moving_average: {REMEDY}"
    )
    (average,) = moving_averages(optimizer)
    assert average.shape == weight.shape
