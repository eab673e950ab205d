"""The same command started twice on one folder, and different ones that share data: one wins or
both do, and the other says so in one line.
"""

import random
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from imgcap.host.progress import Progress
from tests.campaign.commands import zygote
from tests.campaign.commands.cases import (
    CASES,
    TRAIN_FLAGS,
    Case,
    Tree,
    World,
    build_world,
    compare,
    read_place,
)
from tests.campaign.figures import Row, Tally

SIZE = 20
_LATEST = 0.5
"""The second command starts at most this part of the first one's time after it."""

_BY_NAME = {case.command: case for case in CASES}


class Pair(NamedTuple):
    """Commands that start nearly at once in one place.

    Attributes:
        name: of the row.
        commands: what starts; those after the first do so at random instants.
        numbered: whether each that wins makes a numbered version, which are not compared.
    """

    name: str
    commands: tuple[Case, ...]
    numbered: bool = False


def _other_run(name: str) -> Case:
    return Case("train", (f"--workdir={name}", *TRAIN_FLAGS), ("data", "encoder.keras"))


PAIRS = (
    *(
        Pair(f"{name} twice", (_BY_NAME[name],) * 2, numbered=name == "export")
        for name in ("prepare", "train", "evaluate", "export", "average", "caption")
    ),
    Pair(
        "two trainings, one evaluation",
        (
            _other_run("first"),
            _other_run("second"),
            Case("evaluate", ("--workdir=run", "--data_dir=data", "--split=dev"), ("run",)),
        ),
    ),
)


def run(size: int, seed: int, only: str = "") -> list[Row]:
    """Starts each pair many times.

    Args:
        size: starts of each pair.
        seed: decides the instants.
        only: the one pair to start; empty is all.
    """
    pairs = [pair for pair in PAIRS if only in ("", pair.name)]
    tally = Tally(*(pair.name for pair in pairs))
    with (
        tempfile.TemporaryDirectory(prefix="imgcap-twice-") as folder,
        Progress("starts", size * len(pairs), "starts") as progress,
    ):
        world = build_world(Path(folder))
        for pair in pairs:
            start_often(world, pair, tally, size, seed, progress)
    return tally.rows()


def start_often(
    world: World, pair: Pair, tally: Tally, size: int, seed: int, progress: Progress
) -> None:
    """Starts a pair many times, and counts what held."""
    undisturbed, seconds = _run_alone(world, pair)
    for number in range(size):
        rng = random.Random(f"{seed} {pair.name} {number}")
        _set_up(world, pair)
        commands = []
        for case in pair.commands:
            if commands:
                time.sleep(rng.uniform(0.0, _LATEST * seconds) if rng.random() < 0.7 else 0.0)
            commands.append(zygote.Command(case.command, case.arguments, world.place))
        ends = [command.wait() for command in commands]
        tally.add(pair.name, judge(pair, ends, read_place(world.place), undisturbed), number)
        progress.advance(1, pair.name)


def judge(pair: Pair, ends: list[zygote.Ended], found: Tree, undisturbed: Tree) -> str:
    """Says what did not hold of some commands that have ended; empty if all did."""
    for ended in ends:
        if ended.broke:
            return f"a traceback: {ended.output[-600:]}"
        if ended.status and "error: " not in ended.last_line():
            return f"status {ended.status} without a line: {ended.output[-300:]}"
    if all(ended.status for ended in ends):
        return f"nobody wins: {'; '.join(ended.last_line() for ended in ends)}"
    if len(set(pair.commands)) > 1 and any(ended.status for ended in ends):
        return f"one disturbs the other: {'; '.join(ended.last_line() for ended in ends)}"
    if pair.numbered:
        wins = sum(not ended.status for ended in ends)
        found = {path.replace("models/2/", "models/1/"): content for path, content in found.items()}
        undisturbed = {**undisturbed, **{p: found.get(p, b"") for p in _numbered(undisturbed)}}
        if not wins:
            return "no version"
    return compare(found, undisturbed)


def _numbered(tree: Tree) -> list[str]:
    """The files of a version that have its number in them."""
    return [path for path in tree if path.endswith(("manifest.json", "MODEL_CARD.md", "card.json"))]


def _set_up(world: World, pair: Pair) -> None:
    world.set_up(list(dict.fromkeys(name for case in pair.commands for name in case.inputs)))


def _run_alone(world: World, pair: Pair) -> tuple[Tree, float]:
    """What the commands leave one after the other, and how long the first one takes."""
    _set_up(world, pair)
    ends = [world.run(case) for case in dict.fromkeys(pair.commands)]
    failed = [ended.output for ended in ends if ended.status]
    if failed:
        raise RuntimeError(f"{pair.name} failed undisturbed: {failed[0]}")
    return read_place(world.place), ends[0].seconds
