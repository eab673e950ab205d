"""Killed, stopped, out of disk: the same command goes on and ends where an undisturbed run ends,
bit for bit.
"""

import json
import multiprocessing
import os
import random
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from imgcap.run import checkpoints
from imgcap.run.restore import load_captioner
from imgcap.training.machines.interruption import PREEMPTED_STATUS

KILLS = 10
PATIENCE = 120.0


@pytest.fixture(scope="module")
def flags(train_flags: list[str]) -> list[str]:
    return [*train_flags, "--deterministic", "--checkpoint_every=3", "--epochs=2"]


def train_here(workdir: Path, flags: list[str], file_size: int | None = None) -> None:
    from imgcap.cli import train

    # The fork server's standard error is that of its start; a file of its own is what the test can
    # read.
    os.dup2(os.open(errors(workdir), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    if file_size is not None:
        # A file may not grow beyond this: what a full disk does, without filling one.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    os._exit(train.main(["imgcap-train", f"--workdir={workdir}", *flags]))


def errors(workdir: Path) -> Path:
    return workdir.with_name("stderr.txt")


@pytest.fixture(scope="module")
def context() -> multiprocessing.context.BaseContext:
    # TensorFlow is imported once, in the fork server; each run then starts in a second.
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(["imgcap.training.loop"])
    return made


def run(
    context: multiprocessing.context.BaseContext,
    workdir: Path,
    flags: list[str],
    due: Callable[[], bool] = lambda: False,
    number: int = signal.SIGKILL,
    **values: int,
) -> int:
    """Trains in a process of its own and signals it as soon as `due`; returns its exit code."""
    process = context.Process(target=train_here, args=(workdir, flags), kwargs=values)
    process.start()
    deadline = time.monotonic() + PATIENCE
    while process.is_alive() and time.monotonic() < deadline:
        if due():
            os.kill(process.pid, number)
            break
        time.sleep(0.0005)
    process.join(PATIENCE)
    assert process.exitcode is not None, "the run hangs"
    return process.exitcode


def logged_step(workdir: Path) -> int:
    path = workdir / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    try:
        return json.loads(lines[-1])["step"] if lines else 0
    except ValueError:
        return 0


def weights(workdir: Path) -> list[np.ndarray]:
    return load_captioner(workdir)[0].decoder.get_weights()


@pytest.fixture(scope="module")
def undisturbed(
    context: multiprocessing.context.BaseContext,
    flags: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    workdir = tmp_path_factory.mktemp("undisturbed") / "run"
    assert run(context, workdir, flags) == 0
    return workdir


def assert_same_end(workdir: Path, undisturbed: Path) -> None:
    assert checkpoints.latest(workdir) == checkpoints.latest(undisturbed)
    for a, b in zip(weights(workdir), weights(undisturbed), strict=True):
        np.testing.assert_array_equal(a, b)


def test_killed_ten_times(
    context: multiprocessing.context.BaseContext,
    flags: list[str],
    undisturbed: Path,
    tmp_path: Path,
) -> None:
    workdir, rng = tmp_path / "run", random.Random(0)
    last = checkpoints.latest(undisturbed).step

    def writing() -> bool:
        return any((workdir / "checkpoints").glob(f"*{checkpoints.UNFINISHED}/*"))

    for kill in range(KILLS):
        target = rng.randint(kill * last // KILLS, (kill + 1) * last // KILLS)
        due = writing if kill == 4 else lambda target=target: logged_step(workdir) >= target
        assert run(context, workdir, flags, due) == -signal.SIGKILL
        if kill == 4:
            assert list((workdir / "checkpoints").glob(f"*{checkpoints.UNFINISHED}")), (
                "missed the write"
            )
    assert run(context, workdir, flags) == 0
    assert_same_end(workdir, undisturbed)


def test_sigterm_writes_a_checkpoint_and_says_so(
    context: multiprocessing.context.BaseContext,
    flags: list[str],
    undisturbed: Path,
    tmp_path: Path,
) -> None:
    workdir = tmp_path / "run"
    seldom = [*flags, "--checkpoint_every=0"]
    status = run(context, workdir, seldom, lambda: logged_step(workdir) >= 4, signal.SIGTERM)
    assert status == PREEMPTED_STATUS
    stopped = checkpoints.latest(workdir)
    assert stopped.step >= 4 and stopped.batch == stopped.step
    assert (
        f"stopped by SIGTERM at step {stopped.step}, checkpoint written"
        in errors(workdir).read_text()
    )
    assert run(context, workdir, seldom) == 0
    assert_same_end(workdir, undisturbed)


def test_a_full_disk_leaves_the_last_checkpoint(
    context: multiprocessing.context.BaseContext,
    flags: list[str],
    undisturbed: Path,
    tmp_path: Path,
) -> None:
    workdir = tmp_path / "run"
    assert run(context, workdir, flags, lambda: logged_step(workdir) >= 7) == -signal.SIGKILL
    before = checkpoints.latest(workdir)
    size = max(path.stat().st_size for path in (workdir / "checkpoints").rglob("weights.data*"))
    assert run(context, workdir, flags, file_size=size // 2) == 1
    last = errors(workdir).read_text().splitlines()[-1]
    assert "can't be written" in last and "free the disk and run the same command again" in last
    assert checkpoints.latest(workdir) == before
    assert run(context, workdir, flags) == 0
    assert_same_end(workdir, undisturbed)
