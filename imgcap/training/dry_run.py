"""What a run would be: its size, its steps, and time and memory of a few of them; nothing is
written.
"""

import resource
import time
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from imgcap.config import Config
from imgcap.data import batches
from imgcap.data.manifest import Manifest
from imgcap.model.captioner import Captioner
from imgcap.progress import clock
from imgcap.run.checkpoints import Progression
from imgcap.training.inputs import examples, stored_features
from imgcap.training.inputs.examples import TrainingData
from imgcap.training.step import TrainStep

# The first steps trace the graph, for one length of captions and then for any.
WARM_UP_STEPS, PROBED_STEPS = 3, 5
BYTES_A_NUMBER = 4
MEGABYTE = 1e6


class Probe(NamedTuple):
    """What a few steps took.

    Attributes:
        step_seconds: of one step.
        encode_seconds: of storing all features, where they are to be stored; else 0.
        peak_bytes: the device's memory at its fullest (on a CPU the process's).
    """

    step_seconds: float
    encode_seconds: float
    peak_bytes: int


def describe_plan(
    config: Config,
    strategy: tf.distribute.Strategy,
    prepared: Manifest,
    captioner: Captioner,
    step: TrainStep,
) -> str:
    """Probes the step and says what the run would be.

    Args:
        config: of the run.
        strategy: that shares the step.
        prepared: manifest of the image shards.
        captioner: as it would start; the probe changes its weights.
        step: as the run would take it.

    Returns:
        Some lines of text.
    """
    data = examples.plan_data(config, prepared)
    probe = _probe(config, strategy, data, captioner, step)
    total = examples.total_steps(config, data)
    rows = (
        f"plan of {config.train.workdir} (nothing is written)",
        *_parameters(config, captioner),
        f"  memory     {_memory(config, captioner)}, {probe.peak_bytes / MEGABYTE:,.0f} MB in all "
        "at the probe's peak",
        f"  batch      {_batch(config, data, strategy.num_replicas_in_sync)}",
        f"  steps      {data.steps_per_epoch:,} an epoch, {total:,} in all",
        f"  time       {probe.step_seconds:.3g} s a step, {clock(total * probe.step_seconds)} in "
        "all, without dev captions",
    )
    encoding = (
        f"  features   {clock(probe.encode_seconds)} to store them first, unless they are there"
    )
    return "\n".join([*rows, *([encoding] if probe.encode_seconds else [])])


def _parameters(config: Config, captioner: Captioner) -> list[str]:
    encoder, decoder = captioner.encoder.network, captioner.decoder
    trained = _count(captioner.trainable_variables)
    return [
        f"  encoder    {_count(encoder.weights):,} parameters, "
        f"{_count(encoder.trainable_variables):,} train ({Path(config.model.encoder).name})",
        f"  decoder    {_count(decoder.weights):,} parameters, "
        f"{_count(decoder.trainable_variables):,} train ({config.model.decoder})",
        f"  trainable  {trained:,} of {_count([*encoder.weights, *decoder.weights]):,} parameters",
    ]


def _count(variables: list) -> int:
    return sum(int(tf.TensorShape(variable.shape).num_elements()) for variable in variables)


def _memory(config: Config, captioner: Captioner) -> str:
    everything = _count([*captioner.encoder.network.weights, *captioner.decoder.weights])
    # A gradient, Adam's two moments, and the moving average where one is kept.
    copies = 3 + bool(config.train.ema_momentum)
    learning = copies * _count(captioner.trainable_variables)
    weights, learning = (BYTES_A_NUMBER * numbers / MEGABYTE for numbers in (everything, learning))
    return f"weights {weights:,.0f} MB, gradients and optimizer {learning:,.0f} MB a replica"


def _batch(config: Config, data: TrainingData, replicas: int) -> str:
    settings = config.train
    captions, unit = (
        (settings.batch_size, "captions")
        if settings.cache_features
        else (data.images_per_batch, "images")
    )
    cut = f", in {settings.accumulate_steps} micro-batches" if settings.accumulate_steps > 1 else ""
    return f"{captions // replicas} {unit} a replica{cut}, {captions} on {replicas} replicas"


def _probe(
    config: Config,
    strategy: tf.distribute.Strategy,
    data: TrainingData,
    captioner: Captioner,
    step: TrainStep,
) -> Probe:
    def make_dataset(rows: batches.Rows) -> tf.data.Dataset:
        if config.train.cache_features:
            return _made_up(config, data, captioner, rows)
        return examples.training_dataset(config, data, Progression(), rows).repeat()

    batches = iter(examples.distribute(strategy, make_dataset))
    start = 0.0
    for number in range(WARM_UP_STEPS + PROBED_STEPS):
        if number == WARM_UP_STEPS:
            start = time.monotonic()
        # Read at once: the clock must not stop before the device does.
        float(step(next(batches), tf.constant(number, tf.int32)).loss)
    step_seconds = (time.monotonic() - start) / PROBED_STEPS
    return Probe(step_seconds, _encode_seconds(config, data, captioner), _peak_bytes())


def _made_up(
    config: Config, data: TrainingData, captioner: Captioner, rows: batches.Rows
) -> tf.data.Dataset:
    """Batches as stored features would give them, captions of mean length: reading them hardly
    takes time.
    """
    counts = {int(length): count for length, count in data.prepared.token_counts.items()}
    length = round(sum(length * count for length, count in counts.items()) / sum(counts.values()))
    captions = -(-config.train.batch_size // rows.replicas)
    stored = tf.zeros([captions, *captioner.encoder.features_shape], tf.float16)
    return tf.data.Dataset.from_tensors(
        batches.Batch(stored, tf.ones([captions, 1, length], tf.int32))
    ).repeat()


def _encode_seconds(config: Config, data: TrainingData, captioner: Captioner) -> float:
    if not config.train.cache_features:
        return 0.0
    encode, size = tf.function(captioner.encoder.__call__), config.model.image_size
    images = tf.zeros([stored_features.ENCODED_AT_ONCE, size, size, 3])
    encode(images)
    start = time.monotonic()
    encode(images).numpy()
    an_image = (time.monotonic() - start) / stored_features.ENCODED_AT_ONCE
    stored = (
        data.prepared.images["train"] * config.train.cached_views
        + data.prepared.images[examples.DEV]
    )
    return stored * an_image


def _peak_bytes() -> int:
    gpus = len(tf.config.list_logical_devices("GPU"))
    if gpus:
        return max(
            tf.config.experimental.get_memory_info(f"GPU:{number}")["peak"]
            for number in range(gpus)
        )
    # Linux counts in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
