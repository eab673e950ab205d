"""What training holds in memory as the data set grows: a fresh process each, since a process never
shrinks.
"""

import subprocess
import sys
from pathlib import Path

from imgcap.data import batches
from imgcap.errors import RunError
from tests.bench.measurement_table import Row
from tests.bench.workload import Workload, load_workload, make_step, repeat_shards, train_on

GROWTH = 10
STATUS = Path("/proc/self/status")
MEGABYTE = 1e6


def memory_rows(work: Workload) -> list[Row]:
    """Peak memory of an epoch on ten times the data against that of an epoch on the data.

    Args:
        work: has the features.

    Returns:
        One row; none, with a printed line, where the system has no `/proc`.
    """
    if not STATUS.exists():
        print(f"left out: memory of training ({STATUS} is not there)")
        return []
    small, large = (_peak_bytes_of_a_process(work, times) for times in (1, GROWTH))
    captions = work.prepared.captions["train"]
    note = (
        f"{large / MEGABYTE:.0f} against {small / MEGABYTE:.0f} MB, {GROWTH * captions} against "
        f"{captions} captions"
    )
    return [Row(f"memory of training, {GROWTH} times the data", large / small, "≤ 1.1", note)]


def _peak_bytes_of_a_process(work: Workload, times: int) -> int:
    command = [
        sys.executable,
        "-m",
        __spec__.name,
        str(work.config_path),
        str(work.stored.folder),
        str(times),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
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
    epoch = batches.training_features(
        paths,
        captions=work.config.train.batch_size,
        features_shape=work.stored.shape,
        max_length=work.prepared.max_length,
        seed=0,
        epoch=0,
    )
    train_on(make_step(work, work.config.train), epoch)
    return peak_bytes(STATUS.read_text(encoding="utf-8"))


def peak_bytes(status: str) -> int:
    """The most memory that was ever resident.

    Not `getrusage`, whose peak a process inherits from the one that started it.

    Args:
        status: text of `/proc/PID/status` (see proc_pid_status(5)).
    """
    values = dict(line.split(":", 1) for line in status.splitlines())
    return 1024 * int(values["VmHWM"].removesuffix("kB"))


if __name__ == "__main__":
    print(train_and_measure(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
