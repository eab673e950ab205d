"""Training on stored features: against batches in memory, against a notebook, and in bfloat16."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from imgcap.config import DecodeConfig, TrainConfig
from imgcap.data import shards
from imgcap.data.batches import (
    Batch,
    EncodedCaptions,
    EncodedImages,
    Position,
    training_batches,
)
from imgcap.model.search.cider_reward import CiderReward
from tests.bench.notebook import Caption, NotebookDecoder
from tests.bench.table import Row
from tests.bench.timing import clocked, take_turns
from tests.bench.training.workload import Workload, make_step, train_on

READ, HELD, HALF, FULL, NOTEBOOK = "read", "held", "half", "full", "notebook"
STEP, REWARD = "step", "reward"
# A batch of them is about 1,500 rows of one word; the notebook needs seconds for it.
NOTEBOOK_CAPTIONS, NOTEBOOK_BATCHES = 64, 2
# Steps by which precisions are compared.
COMPARED_STEPS = 30


def epoch_rows(work: Workload, captions: int, repetitions: int) -> list[Row]:
    """Times epochs on stored features: from the input pipeline, from the same batches in memory, on
    some of those in either precision, and as a notebook trains.

    Args:
        work: has the stored features.
        captions: of an epoch.
        repetitions: turns that all have.

    Returns:
        Three rows.
    """
    # Made once, like the graph of the step; reading starts anew at each turn.
    train = work.config.train
    examples = EncodedCaptions(train.batch_size, work.stored.shape, work.prepared.max_length)
    epoch = training_batches(work.feature_shards(captions), examples, Position())
    batches = list(epoch)
    spread = batches[:: max(1, len(batches) // COMPARED_STEPS)]
    # In the precision of the recipes in configs/.
    half_step = make_step(work, dataclasses.replace(train, precision="mixed_bfloat16"))
    full_step = make_step(work, train)
    few = some_captions(batches, NOTEBOOK_CAPTIONS * NOTEBOOK_BATCHES)
    notebook = NotebookDecoder(
        work.stored.shape[1],
        work.config.model.units,
        len(work.vocabulary),
        work.prepared.max_length + 1,
    )
    turns = {
        READ: clocked(lambda: train_on(half_step, epoch)),
        HELD: clocked(lambda: train_on(half_step, batches)),
        HALF: clocked(lambda: train_on(half_step, spread)),
        FULL: clocked(lambda: train_on(full_step, spread)),
        NOTEBOOK: clocked(lambda: notebook.fit(few, NOTEBOOK_CAPTIONS)),
    }
    captions_of = {READ: batches, HELD: batches, HALF: spread, FULL: spread}
    medians = take_turns(turns, repetitions)
    speeds = {
        name: sum(len(batch.tokens) for batch in batches) / medians[name]
        for name, batches in captions_of.items()
    }
    speeds[NOTEBOOK] = len(few) / medians[NOTEBOOK]
    return epoch_rows_of(speeds, len(batches))


def epoch_rows_of(speeds: dict[str, float], steps: int) -> list[Row]:
    """Rows of the ratios of epochs.

    Args:
        speeds: captions a second, by what was timed.
        steps: of an epoch.
    """

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
    """Picks captions from all over an epoch, in the form that a notebook keeps them in.

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
    """Times the share of CIDEr in a self-critical step.

    Args:
        work: has the stored features.
        repetitions: turns that step and reward have.
    """
    train = dataclasses.replace(work.config.train, objective="scst", finetune_from="captioner")
    held = list(
        training_batches(
            work.stored.paths(work.prepared, "train"),
            EncodedImages(work.images_per_batch(), work.stored.shape),
            Position(),
        )
    )
    references = list(shards.reference_tokens(work.image_shards()))
    step = make_step(work, train, references)
    score = _make_scorer(CiderReward.build(references, len(work.vocabulary)), train)
    turns = {
        STEP: clocked(lambda: train_on(step, held)),
        REWARD: clocked(lambda: [float(score(batch.tokens[:, :, 1:])) for batch in held]),
    }
    milliseconds = {
        name: 1000 * seconds / len(held) for name, seconds in take_turns(turns, repetitions).items()
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
    """A function that scores as many captions as a step does, of the shape that sampling gives
    them; which captions they are does not change the time.
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
