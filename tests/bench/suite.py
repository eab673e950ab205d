"""All measurements of training and of what comes before it, one after the other on the same
data.
"""

import tempfile
from pathlib import Path

from tests.bench import memory, reading, stored, tuning
from tests.bench.config import BenchConfig
from tests.bench.measurement_table import Row
from tests.bench.workload import make_workload


def measure(settings: BenchConfig) -> list[Row]:
    """Makes the data in a temporary folder and measures everything on it.

    Args:
        settings: data, sizes and repetitions.

    Returns:
        Rows of (name, ratio, target, note).

    Raises:
        DataError: `settings.data_dir` is no prepared data.
        ConfigError: the encoder can't be had.
    """
    repetitions = settings.repetitions
    with tempfile.TemporaryDirectory() as folder:
        _say("making the data")
        work = make_workload(settings, Path(folder))
        _say("reading images")
        rows = [reading.pipeline_row(work, repetitions), reading.prepare_row(work, repetitions)]
        _say("training on stored features")
        rows += [
            *stored.epoch_rows(work, settings.captions, repetitions),
            stored.reward_row(work, repetitions),
        ]
        _say("growing the data set")
        rows += memory.memory_rows(work)
        _say("fine-tuning")
        # Last: from here on, a part of the encoder trains.
        return [*rows, tuning.tuning_row(work, repetitions)]


def _say(what: str) -> None:
    print(f"bench: {what}", flush=True)
