"""Signals that end training: SIGTERM as a request to stop after a checkpoint, and Ctrl-C while
C++ code runs.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from imgcap.errors import RunError

# EX_TEMPFAIL of sysexits.h, "try again later": a scheduler tells it from a failure (1), wrong usage
# (2) and a kill.
PREEMPTED_STATUS = 75


class Preempted(RunError):
    """The run was asked to stop and did so after a checkpoint; the same command goes on."""

    exit_status = PREEMPTED_STATUS


class StopRequest:
    """A flag that says whether the process was asked to stop.

    Attributes:
        received: whether it was.
    """

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self.received = False

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Handles the signal: only sets the flag."""
        del number, frame
        self.received = True


@contextmanager
def stop_on_sigterm() -> Iterator[StopRequest]:
    """Turns SIGTERM into a request while the context lasts, then restores the earlier handler."""
    request = StopRequest()
    try:
        before = signal.signal(signal.SIGTERM, request.receive)
    except ValueError:
        # Not the main thread (a test, a notebook): only that may handle signals.
        yield request
        return
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def ended_by_ctrl_c() -> Iterator[None]:
    """Lets Ctrl-C end the process at once while the context lasts.

    Python's own handler waits for C++ code to return, which may take for ever.
    """
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    except ValueError:
        # Not the main thread: only that may handle signals.
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
