"""Tuning the last block of a frozen run's encoder: what moves, what stays, how fast, and on
what.
"""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from imgcap.cli import train
from imgcap.config import DecodeConfig, TrainConfig
from imgcap.data import manifest
from imgcap.data.batches import DecodedImages, Position, training_batches
from imgcap.model.captioner import Captioner
from imgcap.run import checkpoints
from imgcap.run.restore import load_captioner
from imgcap.training.objective import make_objective
from imgcap.training.optimizer import make_optimizer
from imgcap.training.step import make_train_step

SIZE = 32


@pytest.fixture(scope="module")
def two_block_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 × 16 and then 8 × 8, each a convolution with BatchNorm whose statistics are no batch's."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIZE, SIZE, 3))
    values = keras.layers.Rescaling(1 / 127.5, -1.0)(inputs)
    for name in ("first", "last"):
        values = keras.layers.Conv2D(12, 3, strides=2, padding="same", name=name)(values)
        values = keras.layers.BatchNormalization(name=f"{name}_norm")(values)
        values = keras.layers.ReLU(name=f"{name}_out")(values)
    network = keras.Model(inputs, values)
    for name in ("first", "last"):
        network.get_layer(f"{name}_norm").moving_mean.assign(np.linspace(-0.5, 0.5, 12))
    path = tmp_path_factory.mktemp("encoder") / "two_blocks.keras"
    network.save(path)
    return path


@pytest.fixture(scope="module")
def frozen(
    train_flags: list[str], two_block_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A short run on stored features."""
    workdir = tmp_path_factory.mktemp("frozen")
    flags = [*train_flags, f"--encoder={two_block_encoder}", "--epochs=1"]
    assert train.main(["imgcap-train", f"--workdir={workdir}", *flags]) == 0
    return workdir


def tune(frozen: Path, workdir: Path, train_flags: list[str], *more: str) -> Captioner:
    flags = [
        *train_flags,
        f"--finetune_from={frozen}",
        "--finetune_blocks=1",
        "--nocache_features",
        "--max_steps=1",
        "--batch_size=20",
        "--schedule=constant",
        "--dropout=0",
        "--learning_rate=0.01",
        *more,
    ]
    assert train.main(["imgcap-train", f"--workdir={workdir}", *flags]) == 0
    return load_captioner(workdir)[0]


def moved(before: Captioner, after: Captioner) -> dict[str, float]:
    """The greatest change of each variable of the encoder, and of the decoder as a whole."""
    pairs = zip(before.encoder.variables, after.encoder.variables, strict=True)
    found = {f"{a.path}": float(np.abs(a.numpy() - b.numpy()).max()) for a, b in pairs}
    decoders = zip(before.decoder.get_weights(), after.decoder.get_weights(), strict=True)
    return {**found, "decoder": max(float(np.abs(a - b).max()) for a, b in decoders)}


@pytest.mark.parametrize(
    "more",
    [[], ["--recompute", "--accumulate_steps=2"], ["--objective=scst"]],
    ids=["plain", "saving", "self-critical"],
)
def test_the_last_block_learns_at_its_own_rate(
    frozen: Path, train_flags: list[str], tmp_path: Path, more: list[str]
) -> None:
    before = load_captioner(frozen)[0]
    tuned = tune(frozen, tmp_path / "run", train_flags, "--encoder_learning_rate=0.0002", *more)
    change = moved(before, tuned)
    # Adam's first step is the learning rate, whatever the gradient: the two rates can be read off.
    assert change.pop("decoder") == pytest.approx(0.01, rel=0.05)
    for name, value in change.items():
        trained = name.split("/")[0].startswith("last") and "moving" not in name
        assert value == (pytest.approx(0.0002, rel=0.05) if trained else 0.0), name
    assert sum(value > 0 for value in change.values()) == 4


def test_a_checkpoint_holds_the_tuned_encoder(
    frozen: Path, train_flags: list[str], tmp_path: Path
) -> None:
    flags = ("--max_steps=4", "--deterministic", "--checkpoint_every=2", "--keep_checkpoints=9")
    whole = tune(frozen, tmp_path / "whole", train_flags, *flags)
    run = tmp_path / "whole"
    shutil.rmtree(run / "checkpoints" / "4")
    assert checkpoints.latest(run).step == 2
    resumed = tune(frozen, run, train_flags, *flags)
    assert max(moved(whole, resumed).values()) == 0.0


def test_the_captions_of_an_image_share_one_pass(
    frozen: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner, _ = load_captioner(frozen)
    captioner.encoder.set_trainable(1, update_statistics=False)
    prepared = manifest.load_manifest(data_dir)
    paths = manifest.shard_paths(data_dir, prepared, "train")
    batch = next(iter(training_batches(paths, DecodedImages(3, SIZE, augment=True), Position())))
    assert batch.tokens.shape[:2] == (3, 5)
    features = tf.function(captioner.encoder.__call__)(batch.inputs)
    config = TrainConfig(learning_rate=0.0)
    objective = make_objective(config, DecodeConfig(), captioner, [], total_steps=1)
    each = [
        float(objective(features, batch.tokens[:, n : n + 1], None, tf.constant(0)).total)
        for n in range(5)
    ]
    whole = objective(features, batch.tokens, None, tf.constant(0)).total
    assert float(whole) == pytest.approx(sum(each), rel=1e-5)

    encoded, encode = [], captioner.encoder.to_features
    monkeypatch.setattr(
        captioner.encoder, "to_features", lambda grid: encoded.append(grid.shape[0]) or encode(grid)
    )
    optimizer = make_optimizer(
        config,
        captioner.decoder.trainable_variables,
        captioner.encoder.network.trainable_variables,
        total_steps=1,
    )
    step = make_train_step(config, tf.distribute.get_strategy(), captioner, optimizer, objective)
    totals = step(batch, tf.constant(0))
    assert encoded == [3]
    assert float(totals.captions) == 15
