"""Memory of training as the data set grows: measured in a fresh process each, since a process never
shrinks.
"""

import subprocess
import sys
from pathlib import Path

from imgcap.data.batches import EncodedCaptions, Position, training_batches
from imgcap.errors import RunError
from tests.bench.table import Row
from tests.bench.training.workload import (
    Workload,
    load_workload,
    make_step,
    repeat_shards,
    train_on,
)
from tests.support.paths import ROOT

MODULE = "tests.bench.training.memory"
GROWTH = 10
STATUS = Path("/proc/self/status")
MEGABYTE = 1e6


def memory_rows(work: Workload) -> list[Row]:
    """Measures the peak memory of an epoch on ten times the data against that of one on the data.

    Args:
        work: has the features.

    Returns:
        One row; none, with a printed line, if the system has no `/proc`.
    """
    if not STATUS.exists():
        print(f"left out: memory of training ({STATUS} is not there)")
        return []
    small, large = (peak_bytes_of_a_process(work, times) for times in (1, GROWTH))
    captions = work.prepared.captions["train"]
    note = (
        f"{large / MEGABYTE:.0f} against {small / MEGABYTE:.0f} MB, {GROWTH * captions} against "
        f"{captions} captions"
    )
    return [Row(f"memory of training, {GROWTH} times the data", large / small, "≤ 1.1", note)]


def peak_bytes_of_a_process(work: Workload, times: int) -> int:
    """Trains one epoch in a fresh process.

    Args:
        work: has the stored features.
        times: how often each shard is read.

    Returns:
        The most memory that the process ever had resident, in bytes.

    Raises:
        RunError: the process failed.
    """
    command = [
        sys.executable,
        "-m",
        MODULE,
        str(work.config_path),
        str(work.stored.folder),
        str(times),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if ended.returncode:
        reason = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise RunError(
            f"{' '.join(command)} ended with status {ended.returncode} ({reason}): run it by hand "
            "to see why"
        )
    return int(ended.stdout.split()[-1])


def train_and_measure(config_path: Path, features_dir: Path, times: int) -> int:
    """Trains one epoch in this process.

    Args:
        config_path: of the workload.
        features_dir: its stored features.
        times: how often each shard is read.

    Returns:
        The most memory that was ever resident, bytes.
    """
    work = load_workload(config_path, features_dir)
    paths = repeat_shards(work.stored.paths(work.prepared, "train"), 1, times)
    examples = EncodedCaptions(
        work.config.train.batch_size, work.stored.shape, work.prepared.max_length
    )
    epoch = training_batches(paths, examples, Position())
    train_on(make_step(work, work.config.train), epoch)
    return peak_bytes(STATUS.read_text(encoding="utf-8"))


def peak_bytes(status: str) -> int:
    """Reads the most memory that was ever resident, in bytes.

    Not `getrusage`, whose peak a process inherits from the one that started it.

    Args:
        status: text of `/proc/PID/status` (see proc_pid_status(5)).
    """
    values = dict(line.split(":", 1) for line in status.splitlines())
    return 1024 * int(values["VmHWM"].removesuffix("kB"))


if __name__ == "__main__":
    print(train_and_measure(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
