"""Training on stored features: against nothing to read, against a notebook, and in bfloat16."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from imgcap.config import DecodeConfig, TrainConfig
from imgcap.data import shards
from imgcap.data.batches import Batch, training_encoded, training_features
from imgcap.training.objective.cider_reward import CiderReward
from tests.bench.measurement_table import Row
from tests.bench.notebook_training import Caption, NotebookTraining
from tests.bench.turns import take_turns
from tests.bench.workload import Workload, make_step, train_on

READ, HELD, HALF, FULL, NOTEBOOK = "read", "held", "half", "full", "notebook"
STEP, REWARD = "step", "reward"
# A batch of them is about 1,500 rows of one word; the notebook needs seconds for it.
NOTEBOOK_CAPTIONS, NOTEBOOK_BATCHES = 64, 2
# Steps by which precisions are compared.
COMPARED_STEPS = 30


def epoch_rows(work: Workload, captions: int, repetitions: int) -> list[Row]:
    """Epochs on stored features: of the input pipeline, of the same batches in memory, of some of
    those in either precision, and as a notebook trains.

    Args:
        work: has the features.
        captions: of an epoch.
        repetitions: turns that all have.

    Returns:
        Three rows.
    """
    # Made once, like the graph of the step; reading starts anew at each turn.
    epoch = training_features(
        work.feature_shards(captions),
        captions=work.config.train.batch_size,
        features_shape=work.stored.shape,
        max_length=work.prepared.max_length,
        seed=0,
        epoch=0,
    )
    batches, train = list(epoch), work.config.train
    spread = batches[:: max(1, len(batches) // COMPARED_STEPS)]
    # In the precision of the recipes in configs/.
    half_step = make_step(work, dataclasses.replace(train, precision="mixed_bfloat16"))
    full_step = make_step(work, train)
    few = some_captions(batches, NOTEBOOK_CAPTIONS * NOTEBOOK_BATCHES)
    notebook = NotebookTraining(
        work.stored.shape[1],
        work.config.model.units,
        len(work.vocabulary),
        work.prepared.max_length + 1,
    )
    subjects = {
        READ: lambda: train_on(half_step, epoch),
        HELD: lambda: train_on(half_step, batches),
        HALF: lambda: train_on(half_step, spread),
        FULL: lambda: train_on(full_step, spread),
        NOTEBOOK: lambda: notebook.fit(few, NOTEBOOK_CAPTIONS),
    }
    captions_of = {READ: batches, HELD: batches, HALF: spread, FULL: spread}
    medians = take_turns(subjects, repetitions)
    speeds = {
        name: sum(len(batch.tokens) for batch in batches) / medians[name]
        for name, batches in captions_of.items()
    }
    speeds[NOTEBOOK] = len(few) / medians[NOTEBOOK]
    return _make_rows(speeds, len(batches))


def _make_rows(speeds: dict[str, float], steps: int) -> list[Row]:
    """Rows from captions a second."""

    def row(name: str, one: str, other: str, target: str) -> Row:
        note = f"{speeds[one]:.0f} against {speeds[other]:.0f} captions/s, {steps} steps a turn"
        return Row(name, speeds[one] / speeds[other], target, note)

    return [
        row("epoch on stored features against the same batches in memory", READ, HELD, "≥ 0.95"),
        row(
            "epoch on stored features against a notebook's rows of one word (float32)",
            READ,
            NOTEBOOK,
            "≥ 20",
        ),
        row("step on stored features, mixed_bfloat16 against float32", HALF, FULL, "≥ 1.3"),
    ]


def some_captions(batches: list[Batch], count: int) -> list[Caption]:
    """Captions from all over an epoch, as a notebook keeps them.

    Args:
        batches: of stored features.
        count: at most so many.

    Returns:
        Captions without padding.
    """
    every = [
        (features[0], row[0])
        for batch in batches
        for features, row in zip(*map(np.asarray, batch), strict=True)
    ]
    spread = every[:: max(1, len(every) // count)][:count]
    return [Caption(features, tokens[tokens > 0].tolist()) for features, tokens in spread]


def reward_row(work: Workload, repetitions: int) -> Row:
    """What of a self-critical step goes into CIDEr.

    Args:
        work: has the features.
        repetitions: turns that step and reward have.
    """
    train = dataclasses.replace(work.config.train, objective="scst", finetune_from="captioner")
    held = list(
        training_encoded(
            work.stored.paths(work.prepared, "train"),
            images=work.images_per_batch(),
            features_shape=work.stored.shape,
            seed=0,
            epoch=0,
        )
    )
    references = list(shards.reference_tokens(work.image_shards()))
    step = make_step(work, train, references)
    score = _make_scorer(CiderReward.build(references, len(work.vocabulary)), train)
    subjects = {
        STEP: lambda: train_on(step, held),
        REWARD: lambda: [float(score(batch.tokens[:, :, 1:])) for batch in held],
    }
    milliseconds = {
        name: 1000 * seconds / len(held)
        for name, seconds in take_turns(subjects, repetitions).items()
    }
    note = (
        f"{milliseconds[REWARD]:.1f} of {milliseconds[STEP]:.1f} ms, {work.images_per_batch()} "
        "images a step"
    )
    return Row(
        "share of the reward in a self-critical step",
        milliseconds[REWARD] / milliseconds[STEP],
        "≤ 0.25",
        note,
    )


def _make_scorer(reward: CiderReward, train: TrainConfig) -> Callable[[tf.Tensor], tf.Tensor]:
    """Scores as many captions, of the shape that sampling gives them; which ones they are changes
    no time.
    """
    length = DecodeConfig().num_tokens

    @tf.function(reduce_retracing=True)
    def score(references: tf.Tensor) -> tf.Tensor:
        sampled = tf.repeat(references[:, :1, :length], train.scst_samples, axis=1)
        filled = tf.pad(
            sampled, [[0, 0], [0, 0], [0, length - tf.shape(sampled)[2]]]
        )  # -> [B, S, T]
        return tf.reduce_sum(reward(filled, references))

    return score
