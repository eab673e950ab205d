"""`kill -9` at a random instant, then the same command again: the files of an undisturbed one.

Half of the instants are drawn from the time that the command takes, half from the changes that it
makes to files, so that kills in the middle of writing are many. Half of them kill the workers too.
"""

import contextlib
import os
import random
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from imgcap.host.progress import Progress
from tests.campaign.commands import zygote
from tests.campaign.commands.cases import (
    CASES,
    Case,
    Tree,
    World,
    build_world,
    compare,
    read_place,
)
from tests.campaign.figures import Row, Tally

SIZE = 50
LONGEST_CHAIN = 3
"""Most kills of one command before it may come to its end."""
_GLANCE = 0.004


class Undisturbed(NamedTuple):
    """What a command does if nobody kills it.

    Attributes:
        tree: its files.
        seconds: from start to end.
        changes: that were seen in its files meanwhile.
    """

    tree: Tree
    seconds: float
    changes: int


def run(size: int, seed: int, only: str = "") -> list[Row]:
    """Kills each command many times.

    Args:
        size: kills of each command.
        seed: decides the instants.
        only: the one command to kill; empty is all.

    Returns:
        A row a command.
    """
    cases = [case for case in CASES if only in ("", case.command)]
    tally = Tally(*(case.command for case in cases))
    with (
        tempfile.TemporaryDirectory(prefix="imgcap-kill-") as folder,
        Progress("kills", size * len(cases), "kills") as progress,
    ):
        world = build_world(Path(folder))
        for case in cases:
            undisturbed = observe(world, case)
            done = 0
            while done < size:
                kills = min(size - done, LONGEST_CHAIN)
                rng = random.Random(f"{seed} {case.command} {done}")
                kill_and_repeat(world, case, undisturbed, tally, rng, kills)
                done += kills
                progress.advance(kills, case.command)
    return tally.rows()


def observe(world: World, case: Case) -> Undisturbed:
    """Runs a command undisturbed; raises RuntimeError if that fails already."""
    world.set_up(case.inputs)
    command = zygote.Command(case.command, case.arguments, world.place)
    changes = _watch(command, world.place, seconds=1e9, changes=10**9)
    ended = command.wait()
    if ended.status:
        raise RuntimeError(f"imgcap-{case.command} failed undisturbed: {ended.output}")
    return Undisturbed(read_place(world.place), ended.seconds, changes)


def kill_and_repeat(
    world: World,
    case: Case,
    undisturbed: Undisturbed,
    tally: Tally,
    rng: random.Random,
    kills: int,
) -> None:
    """Kills a command some times, lets it end then, and counts what held.

    Args:
        world: where.
        case: which command.
        undisturbed: what it must come to.
        tally: counts each kill.
        rng: decides the instants.
        kills: before it may end.
    """
    world.set_up(case.inputs)
    instants = []
    for number in range(kills):
        seconds, changes, whole_group = 1e9, 10**9, rng.random() < 0.5
        if rng.random() < 0.5:
            seconds = rng.uniform(0.0, undisturbed.seconds)
        else:
            changes = rng.randint(1, max(1, undisturbed.changes))
        instants.append(f"{seconds:.2f} s" if seconds < 1e9 else f"change {changes}")
        command = zygote.Command(case.command, case.arguments, world.place)
        _watch(command, world.place, seconds, changes)
        command.kill(whole_group=whole_group)
        ended = command.wait()
        problem = f"broke before the kill: {ended.output[-800:]}" if ended.broke else ""
        if not problem and not command.workers_ended:
            problem = "its workers go on"
        if number < kills - 1:
            tally.add(case.command, problem, instants)
    if not problem:
        ended = world.run(case)
        refused = case.refusal and ended.last_line().endswith(case.refusal)
        if ended.status and not refused:
            problem = f"the same command again: {ended.output[-800:]}"
        else:
            problem = compare(read_place(world.place), undisturbed.tree)
    tally.add(case.command, problem, instants)


def _watch(command: zygote.Command, place: Path, seconds: float, changes: int) -> int:
    """Waits until a time has passed, so many changes were seen, or the command has ended.

    Returns:
        The changes that were seen.
    """
    started, seen, before = time.monotonic(), 0, _glance(place)
    while command.process.is_alive() and time.monotonic() - started < seconds and seen < changes:
        time.sleep(_GLANCE)
        now = _glance(place)
        seen += now != before
        before = now
    return seen


def _glance(folder: Path) -> list[tuple[str, int]]:
    """Paths and sizes of all files and folders in a folder."""
    found = []
    with contextlib.suppress(OSError):  # It was renamed meanwhile.
        for entry in os.scandir(folder):
            with contextlib.suppress(OSError):
                found.append((entry.path, entry.stat().st_size))
                if entry.is_dir():
                    found += _glance(Path(entry.path))
    return sorted(found)
