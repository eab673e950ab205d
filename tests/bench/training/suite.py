"""All measurements of training and of what precedes it, one after the other on the same data."""

import tempfile
from pathlib import Path

from tests.bench.config import BenchConfig, TrainingBenchConfig
from tests.bench.table import Row
from tests.bench.training import memory, peer, reading, stored, tuning
from tests.bench.training.workload import make_workload


def measure_training(bench: BenchConfig, training: TrainingBenchConfig) -> list[Row]:
    """Makes the data in a temporary folder and measures everything on it.

    Args:
        bench: names the encoder, and how many turns everything has.
        training: data and sizes.

    Returns:
        The rows of the table.

    Raises:
        DataError: `data_dir` is no prepared data.
        ConfigError: the encoder cannot be loaded.
    """
    repetitions = bench.repetitions
    with tempfile.TemporaryDirectory() as folder:
        _say("making the data")
        work = make_workload(bench, training, Path(folder))
        _say("reading images")
        rows = [reading.pipeline_row(work, repetitions), reading.prepare_row(work, repetitions)]
        _say("training on stored features")
        rows += [
            *stored.epoch_rows(work, training.captions, repetitions),
            stored.reward_row(work, repetitions),
        ]
        _say("the same step in PyTorch")
        rows += peer.peer_rows(repetitions)
        _say("growing the data set")
        rows += memory.memory_rows(work)
        _say("fine-tuning")
        # Last: from here on, a part of the encoder trains.
        return [*rows, tuning.tuning_row(work, repetitions)]


def _say(what: str) -> None:
    print(f"training: {what}", flush=True)
