"""SIGTERM as a request: finish the step, write a checkpoint, go. And Ctrl-C where Python can't hear
it.
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
    """The run was asked to stop and did, with a checkpoint; the same command goes on."""

    exit_status = PREEMPTED_STATUS


class StopRequest:
    """Whether the process was asked to stop."""

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self.received = False

    def receive(self, number: int, frame: FrameType | None) -> None:
        """The signal handler: only remembers."""
        del number, frame
        self.received = True


@contextmanager
def stop_on_sigterm() -> Iterator[StopRequest]:
    """Turns SIGTERM into a request for as long as the context lasts; what handled it before comes
    back.
    """
    request = StopRequest()
    try:
        before = signal.signal(signal.SIGTERM, request.receive)
    except ValueError:
        # Not the main thread (a test, a notebook): signals are someone else's business.
        yield request
        return
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def ended_by_ctrl_c() -> Iterator[None]:
    """Lets Ctrl-C end the process at once: Python's own handler waits for C++ code to return, which
    may take for ever.
    """
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    except ValueError:
        # Not the main thread: signals are someone else's business.
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
