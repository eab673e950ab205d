"""Each precision under each strategy, compiled and not. In a file of its own, before any test that
makes operations deterministic: that can't be undone in a process, and XLA refuses some of them
then.
"""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from imgcap.cli.train import main as train_main
from imgcap.config import DecodeConfig, ModelConfig, TrainConfig
from imgcap.data.batches import Batch
from imgcap.model.captioner import Captioner
from imgcap.model.decoders import DECODERS, make_decoder
from imgcap.training.objective import make_objective
from imgcap.training.optimizer import make_optimizer
from imgcap.training.step import make_train_step


def train(workdir: Path, flags: list[str]) -> int:
    return train_main(["imgcap-train", f"--workdir={workdir}", *flags])


def lines(workdir: Path) -> list[dict]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


PRECISIONS = ["float32", "mixed_float16", "mixed_bfloat16"]


TenSteps = Callable[..., list[dict]]


@pytest.fixture(scope="module")
def ten_steps(
    train_flags: list[str], tmp_path_factory: pytest.TempPathFactory, compiling_for_cpus: None
) -> TenSteps:
    """Trains ten steps with some flags, once for all tests; gives the logged steps."""

    @functools.cache
    def run(*flags: str) -> list[dict]:
        workdir = tmp_path_factory.mktemp("precision") / "run"
        always = ["--max_steps=10", "--dropout=0", "--schedule=constant", "--learning_rate=0.01"]
        assert train(workdir, [*train_flags, *always, *flags]) == 0
        return [line for line in lines(workdir) if "loss" in line]

    return run


@pytest.mark.parametrize("jit", ["--nojit", "--jit"])
@pytest.mark.parametrize("strategy", ["one_device", "mirrored"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_ten_steps_of_each_combination(
    ten_steps: TenSteps, precision: str, strategy: str, jit: str
) -> None:
    found = ten_steps(f"--precision={precision}", f"--strategy={strategy}", jit)
    # In float16 the first steps overflow until the scale has come down; they change nothing and are
    # counted.
    trained = sum(1 - line["skipped_steps"] for line in found)
    assert len(found) == 10
    assert trained == 10 or (precision == "mixed_float16" and trained > 4)
    assert found[-1]["loss"] < found[0]["loss"]


@pytest.mark.parametrize("strategy", ["one_device", "mirrored"])
def test_micro_batches_share_the_loss_scale(ten_steps: TenSteps, strategy: str) -> None:
    flags = ["--precision=mixed_float16", f"--strategy={strategy}", "--nojit"]
    whole, cut = ten_steps(*flags), ten_steps(*flags, "--accumulate_steps=2")
    assert [line["skipped_steps"] for line in cut] == [line["skipped_steps"] for line in whole]
    assert [line["loss"] for line in cut] == pytest.approx(
        [line["loss"] for line in whole], rel=5e-3
    )


@pytest.mark.parametrize("name", DECODERS)
def test_xla_can_compile_the_step_of_every_decoder(name: str) -> None:
    """Translates the whole step to XLA's operations, with all that can be mixed into the loss."""
    positions = 1 if DECODERS[name].pooled else 4
    model = ModelConfig(
        decoder=name, units=7, embedding_dim=5, attention_units=3, recurrent_dropout=0.1
    )
    config = TrainConfig(
        batch_size=6,
        cache_features=True,
        label_smoothing=0.1,
        word_dropout=0.1,
        scheduled_sampling=0.1 if name == "attention" else 0.0,
        attention_regulariser=0.0 if DECODERS[name].pooled else 1.0,
    )
    decoder = make_decoder(model, 11, (positions, 8))
    encoder = SimpleNamespace(network=SimpleNamespace(trainable_variables=[]))
    captioner = Captioner(encoder, decoder, SimpleNamespace())
    optimizer = make_optimizer(config, decoder.trainable_variables, [], 10)
    objective = make_objective(config, DecodeConfig(), captioner, [], 10)
    step = make_train_step(config, tf.distribute.get_strategy(), captioner, optimizer, objective)
    rng = np.random.default_rng(0)
    features = tf.constant(rng.normal(size=[6, positions, 8]), tf.float16)
    tokens = tf.constant(rng.integers(4, 11, size=[6, 1, 5]), tf.int32)

    def translate(jit: Callable[..., object]) -> str:
        return jit.experimental_get_compiler_ir(Batch(features, tokens), tf.constant(0))("hlo")

    assert "while(" in translate(tf.function(step, jit_compile=True, autograph=False))
