"""Describes a run before it is made: its size, its steps, and time and memory of a few of them."""

import resource
import time
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from imgcap.config import Config, ModelConfig, TrainConfig
from imgcap.data import batches
from imgcap.data.manifest import Manifest
from imgcap.host.progress import clock
from imgcap.model.captioner import Captioner
from imgcap.run.checkpoints import Progression
from imgcap.training.inputs import examples, stored_features
from imgcap.training.inputs.examples import TrainingData
from imgcap.training.step import TrainStep

# The first steps trace the graph, for one length of captions and then for any.
WARM_UP_STEPS, PROBED_STEPS = 3, 5
BYTES_A_NUMBER = 4
MEGABYTE = 1e6


class Probe(NamedTuple):
    """Time and memory of a few steps.

    Attributes:
        step_seconds: of one step.
        encode_seconds: of storing all features; 0 if none are to be stored.
        peak_bytes: greatest use of the device's memory (on a CPU the process's).
    """

    step_seconds: float
    encode_seconds: float
    peak_bytes: int


def describe_plan(
    config: Config,
    strategy: tf.distribute.Strategy,
    manifest: Manifest,
    captioner: Captioner,
    step: TrainStep,
) -> str:
    """Takes a few steps and says what the run would be.

    Args:
        config: of the run.
        strategy: that shares the step.
        manifest: of the image shards.
        captioner: as it would start; the steps change its weights.
        step: as the run would take it.

    Returns:
        Some lines of text.
    """
    train = config.train
    data = examples.plan_data(train, config.model.image_size, manifest)
    probe = _probe(train, strategy, data, captioner, step)
    total = examples.total_steps(train, data)
    rows = (
        f"plan of {train.workdir} (nothing is written)",
        *_parameters(config.model, captioner),
        f"  memory     {_memory(train, captioner)}, {probe.peak_bytes / MEGABYTE:,.0f} MB in all "
        "at the probe's peak",
        f"  batch      {_batch(train, data, strategy.num_replicas_in_sync)}",
        f"  steps      {data.steps_per_epoch:,} an epoch, {total:,} in all",
        f"  time       {probe.step_seconds:.3g} s a step, {clock(total * probe.step_seconds)} in "
        "all, without dev captions",
    )
    encoding = (
        f"  features   {clock(probe.encode_seconds)} to store them first, unless they are there"
    )
    return "\n".join([*rows, *([encoding] if probe.encode_seconds else [])])


def _parameters(config: ModelConfig, captioner: Captioner) -> list[str]:
    encoder, decoder = captioner.encoder.network, captioner.decoder
    trained = _count(captioner.trainable_variables)
    return [
        f"  encoder    {_count(encoder.weights):,} parameters, "
        f"{_count(encoder.trainable_variables):,} train ({Path(config.encoder).name})",
        f"  decoder    {_count(decoder.weights):,} parameters, "
        f"{_count(decoder.trainable_variables):,} train ({config.decoder})",
        f"  trainable  {trained:,} of {_count([*encoder.weights, *decoder.weights]):,} parameters",
    ]


def _count(variables: list) -> int:
    return sum(int(tf.TensorShape(variable.shape).num_elements()) for variable in variables)


def _memory(config: TrainConfig, captioner: Captioner) -> str:
    everything = _count([*captioner.encoder.network.weights, *captioner.decoder.weights])
    # A gradient, Adam's two moments, and the moving average if one is kept.
    copies = 3 + bool(config.ema_momentum)
    learning = copies * _count(captioner.trainable_variables)
    weights_mb, learning_mb = (
        BYTES_A_NUMBER * numbers / MEGABYTE for numbers in (everything, learning)
    )
    return f"weights {weights_mb:,.0f} MB, gradients and optimizer {learning_mb:,.0f} MB a replica"


def _batch(config: TrainConfig, data: TrainingData, replicas: int) -> str:
    captions, unit = (
        (config.batch_size, "captions")
        if config.cache_features
        else (data.images_per_batch, "images")
    )
    cut = f", in {config.accumulate_steps} micro-batches" if config.accumulate_steps > 1 else ""
    return f"{captions // replicas} {unit} a replica{cut}, {captions} on {replicas} replicas"


def _probe(
    config: TrainConfig,
    strategy: tf.distribute.Strategy,
    data: TrainingData,
    captioner: Captioner,
    step: TrainStep,
) -> Probe:
    def make_dataset(rows: batches.Rows) -> tf.data.Dataset:
        if config.cache_features:
            return _made_up(config, data, captioner, rows)
        return examples.training_dataset(config, data, Progression(), rows).repeat()

    stream = iter(examples.distribute(strategy, make_dataset))
    start = 0.0
    for number in range(WARM_UP_STEPS + PROBED_STEPS):
        if number == WARM_UP_STEPS:
            start = time.monotonic()
        # Read at once: the clock must not stop before the device does.
        float(step(next(stream), tf.constant(number, tf.int32)).loss)
    step_seconds = (time.monotonic() - start) / PROBED_STEPS
    return Probe(step_seconds, _encode_seconds(config, data, captioner), _peak_bytes())


def _made_up(
    config: TrainConfig, data: TrainingData, captioner: Captioner, rows: batches.Rows
) -> tf.data.Dataset:
    """Makes up batches as of stored features, with captions of mean length.

    They stand for stored ones, which hardly take time to read either.
    """
    counts = {int(length): count for length, count in data.manifest.token_counts.items()}
    length = round(sum(length * count for length, count in counts.items()) / sum(counts.values()))
    captions = -(-config.batch_size // rows.replicas)
    stored = tf.zeros([captions, *captioner.encoder.features_shape], tf.float16)
    return tf.data.Dataset.from_tensors(
        batches.Batch(stored, tf.ones([captions, 1, length], tf.int32))
    ).repeat()


def _encode_seconds(config: TrainConfig, data: TrainingData, captioner: Captioner) -> float:
    if not config.cache_features:
        return 0.0
    encode = tf.function(captioner.encoder.__call__, autograph=False)
    images = tf.zeros([stored_features.ENCODED_AT_ONCE, data.image_size, data.image_size, 3])
    encode(images)
    start = time.monotonic()
    encode(images).numpy()
    an_image = (time.monotonic() - start) / stored_features.ENCODED_AT_ONCE
    images_of = data.manifest.images
    return an_image * (images_of[examples.TRAIN] * config.cached_views + images_of[examples.DEV])


def _peak_bytes() -> int:
    gpus = len(tf.config.list_logical_devices("GPU"))
    if gpus:
        return max(
            tf.config.experimental.get_memory_info(f"GPU:{number}")["peak"]
            for number in range(gpus)
        )
    # Linux counts in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
