"""A disk that is full or fails: one line, no success, and what stood before still loads.

A small limit on the size of files, or a small file system if this process may mount one, makes the
disk full for TensorFlow's writers and Python's alike. Failing disks (EIO) are made by an audit
hook, which refuses to open, rename or make one file of the command's own, drawn at random.
"""

import contextlib
import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from imgcap.host.progress import Progress
from tests.campaign.commands import zygote
from tests.campaign.commands.cases import CASES, Case, World, build_world, compare, read_place
from tests.campaign.figures import Row, Tally

SIZE = 20
KINDS = ("full", "limit", "EIO")
_CHANGING = {"os.rename", "os.mkdir", "os.link", "os.symlink"}
_WRITING = os.O_WRONLY | os.O_RDWR


def run(size: int, seed: int, only: str = "") -> list[Row]:
    """Runs each command on bad disks.

    Args:
        size: attempts of each command on each kind of bad disk.
        seed: decides where the disk ends or fails.
        only: the one command to run; empty is all.
    """
    cases = [case for case in CASES if only in ("", case.command)]
    kinds = KINDS if can_mount() else KINDS[1:]
    tally = Tally(*(f"{case.command}, {kind}" for case in cases for kind in kinds))
    with (
        tempfile.TemporaryDirectory(prefix="imgcap-disk-") as folder,
        Progress("attempts", size * len(cases) * len(kinds), "attempts") as progress,
    ):
        world = build_world(Path(folder))
        for case in cases:
            for kind in kinds:
                try_often(world, case, kind, tally, size, seed, progress)
    return tally.rows()


def can_mount() -> bool:
    """Whether this process may make a small file system."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with small_disk(Path(folder), 2**20):
                return True
        except subprocess.CalledProcessError:
            return False


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """Mounts a file system of so many bytes while the context lasts."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def try_often(
    world: World, case: Case, kind: str, tally: Tally, size: int, seed: int, progress: Progress
) -> None:
    """Runs one command on bad disks of one kind, and counts what held."""
    world.set_up(case.inputs)
    before = sum(path.stat().st_size for path in world.place.rglob("*") if path.is_file())
    ended = world.run(case)
    if ended.status:
        raise RuntimeError(f"imgcap-{case.command} failed undisturbed: {ended.output}")
    undisturbed = read_place(world.place)
    sizes = [path.stat().st_size for path in world.place.rglob("*") if path.is_file()]
    for number in range(size):
        rng = random.Random(f"{seed} {case.command} {kind} {number}")
        name, where = f"{case.command}, {kind}", f"{seed} {number}"
        if kind == "full":
            # Blocks of 4 KiB, and folders: what is there takes more than its bytes.
            room = before + 4096 * 4 * len(sizes) + rng.randint(0, sum(sizes) - before + 4096)
            with _on_small_disk(world, case, room):
                tally.add(name, judge(world, case, zygote.nothing, undisturbed), where)
        else:
            world.set_up(case.inputs)
            limit = partial(limit_files, rng.randint(0, max(sizes)))
            fail = partial(fail_once, str(world.place), rng.randint(0, 25))
            bad = limit if kind == "limit" else fail
            tally.add(name, judge(world, case, bad, undisturbed), where)
        progress.advance(1, name)


@contextlib.contextmanager
def _on_small_disk(world: World, case: Case, room: int) -> Iterator[None]:
    """Sets a place up on a small file system; it is copied back to a large one at the end."""
    shutil.rmtree(world.place, ignore_errors=True)
    world.place.mkdir()
    with small_disk(world.place, room):
        for name in case.inputs:
            source, target = world.folder / name, world.place / name
            copy = shutil.copytree if source.is_dir() else shutil.copyfile
            copy(source, target)
        yield


def limit_files(size: int) -> None:
    """Lets no file of this process grow beyond a size, as a full disk would."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def fail_once(folder: str, number: int) -> None:
    """Lets one change to the files of a folder fail with EIO: the so-manyth that Python makes."""
    changes = 0

    def refuse(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal changes
        if event == "open":
            flags = arguments[2] if len(arguments) > 2 else 0
            if not isinstance(flags, int) or not flags & _WRITING:
                return
        elif event not in _CHANGING:
            return
        path = arguments[0]
        if not isinstance(path, str | bytes) or not os.path.abspath(os.fsdecode(path)).startswith(
            folder
        ):
            return
        changes += 1
        if changes == number + 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO), os.fsdecode(path))

    sys.addaudithook(refuse)


def judge(world: World, case: Case, bad_disk: object, undisturbed: dict[str, bytes]) -> str:
    """Runs a command on a bad disk, then again on a good one; says what did not hold."""
    ended = zygote.run(case.command, case.arguments, world.place, bad_disk)  # type: ignore[arg-type]
    if ended.broke:
        return f"a traceback: {ended.output[-900:]}"
    if ended.status == 0:
        # There was room enough, or the change that failed was none that mattered.
        return compare(read_place(world.place), undisturbed)
    if ended.status < 0 or "error: " not in ended.last_line():
        return f"status {ended.status} without a line: {ended.output[-400:]}"
    if bad_disk is zygote.nothing:
        return ""  # The small disk goes with all that is on it.
    again = world.run(case)
    refused = case.refusal and again.last_line().endswith(case.refusal)
    if again.status and not refused:
        return f"the same command again: {again.output[-400:]}"
    return compare(read_place(world.place), undisturbed)
