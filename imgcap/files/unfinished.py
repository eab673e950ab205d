"""Files and folders that are written under another name, then renamed; leftovers are removed.

Who writes holds a lock on the unfinished work itself, which the kernel lets go when the process
ends, however it ends. So what a killed process left can be told from what another one is writing.
"""

import contextlib
import errno
import fcntl
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from imgcap.files.moving import UNFINISHED, move, unfinished_name

_NUMBERS = itertools.count()
"""Tells the works of one process apart: two of its threads may write one file."""


@contextlib.contextmanager
def unfinished_file(final: Path) -> Iterator[Path]:
    """Gives an empty file a name beside the final one, which it gets when the context ends.

    Args:
        final: the path that readers know; its folder must exist. A file there is replaced.

    Yields:
        The file to write; it is removed if the context ends by an error.
    """
    remove_abandoned(final.parent, final.name)
    path = _own_name(final)
    with _held(path, folder=False):
        yield path
        _sync(path)
        move(path, final)
        _sync(final.parent)


@contextlib.contextmanager
def unfinished_folder(final: Path) -> Iterator[Path]:
    """Makes an empty folder for unfinished work, for as long as the context lasts.

    Args:
        final: the path that readers are to know; its parents are made.

    Yields:
        The folder; `finish_folder` renames it. If that is not done, it is removed.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(final.parent, final.name)
    path = _own_name(final)
    with _held(path, folder=True):
        yield path


def finish_folder(path: Path, final: Path) -> None:
    """Puts all that is in an unfinished folder on the disk, then renames the folder.

    Args:
        path: the unfinished folder.
        final: the path that readers know; absent, or an empty folder.

    Raises:
        OSError: something is there already, or the disk cannot be written.
    """
    for inside in path.rglob("*"):
        _sync(inside)
    _sync(path)
    move(path, final)
    _sync(final.parent)


def remove_abandoned(folder: Path, name: str = "") -> None:
    """Removes the unfinished work of processes that ended, and nothing that one still writes.

    Where the file system knows no locks, nothing is removed.

    Args:
        folder: in which to look; may be absent.
        name: of the file or folder that was to be written; empty is any.
    """
    start = unfinished_name(folder / name, "*").name.partition("*")[0] if name else "."
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for found in sorted(os.listdir(folder)):
            if found.startswith(start) and found.endswith(UNFINISHED):
                _remove_if_abandoned(folder / found)


def _own_name(final: Path) -> Path:
    """A name for unfinished work that no other process or thread takes."""
    return unfinished_name(final, f"{os.getpid()}.{next(_NUMBERS)}")


def _remove_if_abandoned(path: Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(path)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _held(path: Path, *, folder: bool) -> Iterator[None]:
    """Makes an empty file or folder, holds its lock, and removes it if it is still there then."""
    descriptor = _make(path, folder=folder)
    try:
        yield
    finally:
        # After an error, or when it was renamed: then there is none.
        _remove(path)
        os.close(descriptor)


def _make(path: Path, *, folder: bool) -> int:
    """Makes an empty file or folder and locks it; returns its descriptor."""
    while True:
        _remove(path)
        if folder:
            path.mkdir()
            descriptor = os.open(path, os.O_RDONLY)
        else:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        with contextlib.suppress(OSError):  # A file system without locks: nobody removes it then.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(path), os.fstat(descriptor)):
                return descriptor
        # Another process took it for abandoned before it was locked.
        os.close(descriptor)


def _remove(path: Path) -> None:
    """Removes a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Puts a file's content, or a folder's list of names, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems know no such thing for folders; a failing disk must be told.
        if not path.is_dir() or error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise
    finally:
        os.close(descriptor)
