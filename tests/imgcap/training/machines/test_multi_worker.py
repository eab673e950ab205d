"""Two worker processes over loopback train the run of one process, end together, and only the chief
writes.
"""

import json
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from imgcap.cli import train
from imgcap.run import checkpoints, directory
from imgcap.training.machines.interruption import PREEMPTED_STATUS
from tests.support.cluster_of_processes import exit_codes, fork_server, started, wait_until

NAMES = ["chief", "other"]


@pytest.fixture(scope="module")
def context() -> multiprocessing.context.BaseContext:
    return fork_server()


@pytest.fixture(scope="module")
def flags(train_flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    cache = tmp_path_factory.mktemp("cache")
    return [
        *train_flags,
        "--deterministic",
        "--dropout=0",
        f"--cache_dir={cache}",
        "--strategy=multi_worker",
    ]


def lines(workdir: Path) -> list[dict]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def column(workdir: Path, name: str) -> list[float]:
    return [line[name] for line in lines(workdir) if name in line]


def said(folder: Path, name: str) -> str:
    return (folder / f"{name}.err").read_text()


@pytest.fixture(scope="module")
def two(
    context: multiprocessing.context.BaseContext,
    flags: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder with what two workers left: `run`, and each one's weights and words."""
    folder = tmp_path_factory.mktemp("two")
    with started(context, folder, NAMES, [*flags, f"--workdir={folder / 'run'}"]) as both:
        assert exit_codes(both) == [0, 0], said(folder, "chief") + said(folder, "other")
    return folder


def test_two_workers_are_one_replica(two: Path, flags: list[str], tmp_path: Path) -> None:
    assert (
        train.main(["imgcap-train", *flags, f"--workdir={tmp_path}", "--strategy=one_device"]) == 0
    )
    losses = column(two / "run", "loss")
    assert len(losses) >= 20
    np.testing.assert_allclose(losses, column(tmp_path, "loss"), rtol=1e-4)
    for score in ("dev_cider", "dev_bleu_4"):
        assert column(two / "run", score) == column(tmp_path, score)
    assert_same_weights(two)


def assert_same_weights(folder: Path) -> None:
    chief, other = (np.load(folder / f"{name}.npz") for name in NAMES)
    assert chief.files
    for name in chief.files:
        np.testing.assert_array_equal(chief[name], other[name])


def test_replicas_that_share_images_unevenly(
    context: multiprocessing.context.BaseContext, flags: list[str], tmp_path: Path
) -> None:
    # Three images in a global batch, for two replicas. In a process of its own: TensorFlow takes
    # the exchanges of a second MirroredStrategy for those of the first.
    more = [*flags, "--nocache_features", "--batch_size=16", "--finetune_blocks=1", "--max_steps=8"]
    mirrored = ["--strategy=mirrored", "--num_logical_cpus=2", f"--workdir={tmp_path / 'two'}"]
    with started(context, tmp_path, ["mirrored"], [*more, *mirrored]) as process:
        assert exit_codes(process) == [0], said(tmp_path, "mirrored")
    assert (
        train.main(
            ["imgcap-train", *more, "--strategy=one_device", f"--workdir={tmp_path / 'one'}"]
        )
        == 0
    )
    np.testing.assert_allclose(
        column(tmp_path / "one", "loss"), column(tmp_path / "two", "loss"), rtol=1e-4
    )
    assert column(tmp_path / "one", "dev_cider") == column(tmp_path / "two", "dev_cider")


def test_the_chief_alone_speaks(two: Path) -> None:
    words = (two / "chief.out").read_text()
    assert "epoch 2: dev CIDEr" in words and "wrote" in words
    assert words.startswith(
        "devices: 1 CPU in this one of 2 workers, multi_worker (strategy multi_worker, as given)\n"
    )
    assert (two / "other.out").read_text().startswith("worker 1 of 2: waiting for localhost:")
    assert (two / "other.out").read_text().count("\n") == 1
    assert said(two, "other") == ""


def test_killed_and_stopped_workers_go_on(
    context: multiprocessing.context.BaseContext, flags: list[str], two: Path, tmp_path: Path
) -> None:
    workdir = tmp_path / "run"
    again = [*flags, f"--workdir={workdir}", "--checkpoint_every=3"]

    def disturbed(step: int, number: int) -> list[int | None]:
        with started(context, tmp_path, NAMES, again) as both:
            wait_until(lambda: logged_step(workdir) >= step)
            os.kill(both[1].pid, number)
            return exit_codes(both)

    assert disturbed(5, signal.SIGKILL) == [PREEMPTED_STATUS, -signal.SIGKILL]
    assert "error: another worker is gone" in said(tmp_path, "chief").splitlines()[-1]
    assert disturbed(12, signal.SIGTERM) == [PREEMPTED_STATUS, PREEMPTED_STATUS]
    stopped = checkpoints.latest(workdir).step
    assert stopped >= 12
    for name in NAMES:
        assert (
            f"stopped by SIGTERM at step {stopped}, checkpoint written"
            in said(tmp_path, name).splitlines()[-1]
        )
    with started(context, tmp_path, NAMES, again) as both:
        assert exit_codes(both) == [0, 0]
    assert column(workdir, "loss") == column(two / "run", "loss")
    assert_same_weights(tmp_path)
    undisturbed = np.load(two / "chief.npz")
    with np.load(tmp_path / "chief.npz") as resumed:
        for name in undisturbed.files:
            np.testing.assert_array_equal(resumed[name], undisturbed[name])


def logged_step(workdir: Path) -> int:
    path = workdir / "metrics.jsonl"
    found = path.read_text().splitlines() if path.exists() else []
    try:
        return json.loads(found[-1])["step"] if found else 0
    except ValueError:
        return 0


def test_a_refusal_on_the_chief_ends_all(
    context: multiprocessing.context.BaseContext, flags: list[str], two: Path, tmp_path: Path
) -> None:
    with (
        directory.locked(two / "run"),
        started(context, tmp_path, NAMES, [*flags, f"--workdir={two / 'run'}"]) as both,
    ):
        assert exit_codes(both) == [1, 1]
    assert "is in use by another process" in said(tmp_path, "chief")
    assert said(tmp_path, "other") == (
        "imgcap-train: error: another worker can't go on: the line it printed says why\n"
    )


def test_a_workdir_that_is_not_shared(
    context: multiprocessing.context.BaseContext,
    flags: list[str],
    tmp_path: Path,
) -> None:
    # Each worker stands in a folder of its own.
    for name in NAMES:
        (tmp_path / name).mkdir()
    with started(context, tmp_path, NAMES, [*flags, "--workdir=run"], apart=True) as both:
        assert exit_codes(both) == [1, 1]
    assert "another worker can't go on" in said(tmp_path, "chief")
    assert "run is not the chief's: give --workdir a folder that all workers share" in said(
        tmp_path, "other"
    )
