"""Folders that are built once, however many processes of pytest-xdist share the tests, and copies
of them that a test changes.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def build_once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], object]) -> Path:
    """Builds a folder in the first process that asks; the others wait for it and read it.

    Args:
        factory: of the session.
        name: of the folder, one a fixture.
        build: makes the folder, which is not there yet.

    Returns:
        The folder; a test that changes it copies it first.
    """
    base = factory.getbasetemp()
    # Each process of pytest-xdist has a base of its own, all in one folder.
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, whole = shared / name, shared / f".{name}.whole"
    with (shared / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            build(folder)
            whole.touch()
    return folder


def forget_checksums(folder: Path) -> None:
    """Takes the checksums out of the JSON files of a run or data, as earlier versions wrote them.

    Args:
        folder: a copy, in which a test has changed such a file.
    """
    for path in folder.glob("*.json"):
        tree = json.loads(path.read_text(encoding="utf-8"))
        tree.pop("checksum", None)
        if path.name == "run.json":
            tree.pop("config", None)
        path.write_text(json.dumps(tree), encoding="utf-8")
