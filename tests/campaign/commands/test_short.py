"""The short forms of the campaigns on commands: seconds each, on what other tests made already."""

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgcap.host.progress import Progress
from tests.campaign.commands import corrupt, disk, kill, twice
from tests.campaign.commands.cases import CASES, World, compare
from tests.campaign.figures import Tally, all_held, format_table

AVERAGE = next(case for case in CASES if case.command == "average")


@pytest.fixture(scope="module")
def world(
    workdir: Path, data_dir: Path, encoder_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> World:
    folder = tmp_path_factory.mktemp("world")
    shutil.copytree(workdir, folder / "run")
    shutil.copytree(data_dir, folder / "data", ignore=shutil.ignore_patterns("features"))
    shutil.copyfile(encoder_file, folder / "encoder.keras")
    return World(folder)


@pytest.fixture
def progress() -> Iterator[Progress]:
    with Progress("attempts", 0, "attempts") as progress:
        yield progress


def assert_held(tally: Tally) -> None:
    assert tally.rows() and all_held(tally.rows()), format_table(tally.rows())


def test_killed(world: World) -> None:
    case, tally = AVERAGE, Tally()
    undisturbed = kill.observe(world, case)
    kill.kill_and_repeat(world, case, undisturbed, tally, random.Random(0), kills=3)
    assert_held(tally)


@pytest.mark.parametrize("kind", ["limit", "EIO"])
def test_on_a_bad_disk(world: World, progress: Progress, kind: str) -> None:
    case, tally = AVERAGE, Tally()
    disk.try_often(world, case, kind, tally, 3, 0, progress)
    assert_held(tally)


def test_started_twice(world: World, progress: Progress) -> None:
    case, tally = AVERAGE, Tally()
    twice.start_often(world, twice.Pair("average twice", (case, case)), tally, 2, 0, progress)
    assert_held(tally)


@pytest.mark.parametrize(
    "name", ["data/manifest.json", "data/vocab.txt", "data/train-*", "run/run.json"]
)
def test_damaged(
    world: World, progress: Progress, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(os.getcwd())  # Comes back when the test ends.
    (target,) = (target for target in corrupt.TARGETS if target.name == name)
    world.set_up(("data", "run"))
    tally = Tally()
    corrupt.damage_often(world.place, target, tally, 4, 0, progress)
    assert_held(tally)


def test_differences_are_told() -> None:
    assert compare({"a": b"1", "b": b""}, {"a": b"1", "b": b""}) == ""
    assert compare({"a": b"2", "c": b""}, {"a": b"1", "b": b""}) == (
        "a differs; b is missing; c is litter"
    )
