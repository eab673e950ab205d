"""Locks between processes, which the kernel lets go when their holder ends, however it ends."""

import errno
import fcntl
import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imgcap.files.names import write_line

_HELD = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}
"""What `flock` answers if another process has the lock; EACCES is NFS's word for it."""

_HAS_NONE = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOLCK}
"""What it answers on file systems that know no locks, such as Lustre or NFS mounted so."""


class Held(Exception):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[int]:
    """Holds a lock while the context lasts.

    A file system that knows no locks is worked on without one, and a line on standard error says
    so.

    Args:
        path: the lock's file; made if absent, and left there.
        wait: whether to wait for another process that holds it.

    Yields:
        The descriptor of the file; a child process that inherits it holds the lock too.

    Raises:
        Held: another process holds it, and `wait` is false.
        OSError: the file cannot be written.
    """
    with path.open("w") as file:
        lock(file.fileno(), path.parent, wait=wait)
        yield file.fileno()


def lock(descriptor: int, folder: Path, *, wait: bool = False) -> None:
    """Locks an open file until it is closed, as `locked` does.

    Args:
        descriptor: of the file.
        folder: in which it is, for the line that is said if there are no locks.
        wait: whether to wait for another process that holds the lock.

    Raises:
        Held: another process holds it, and `wait` is false.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in _HELD:
            raise Held from None
        if error.errno not in _HAS_NONE:
            raise
        _say_unlocked(folder, error.strerror)


@functools.cache
def _say_unlocked(folder: Path, why: str | None) -> None:
    """Says once of a folder that nothing keeps two commands on it apart."""
    print(
        f"{write_line(str(folder))}: this file system knows no locks ({why}); going on without: "
        "start no second command on this folder",
        file=sys.stderr,
    )
