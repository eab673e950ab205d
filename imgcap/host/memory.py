"""Gives memory back to the system that the C library would keep for requests to come.

Only of its main arena can glibc give back all that is free. Threads have arenas of their own, up to
eight for each core, and every arena keeps the largest moment that it has seen.
"""

import contextlib
import ctypes
import threading
import time
from collections.abc import Callable

SECONDS = 5.0
"""Time between two looks: memory of a large request is free for others so long after its end."""

_M_ARENA_MAX = -8  # of malloc.h

# CPU time in which nothing of size can have been computed, only looks for new versions.
_IDLE_SECONDS = 0.1


class MemoryTrimmer:
    """A thread that returns freed memory, whenever the process has computed something.

    A request of 256 rows or a photograph of 50 million pixels needs hundreds of MB for a moment,
    and without this the server would hold the worst moment of its life for ever.
    """

    def __init__(self) -> None:
        """Starts nothing yet."""
        self._trim = _find_trim()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="memory", daemon=True)

    def start(self) -> None:
        """Begins to look, if the C library can give memory back."""
        if self._trim is not None:
            self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        assert self._trim is not None
        computed = 0.0
        while not self._stopped.wait(SECONDS):
            if time.process_time() - computed > _IDLE_SECONDS:
                self._trim(0)
                computed = time.process_time()


def use_one_arena() -> None:
    """Lets all threads to come share the main arena; call it before there are many.

    Of 20 MB sent at once by four callers, the server held 125 MB for good before, and none now.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Returns freed memory to the system, if the C library can."""
    trim = _find_trim()
    if trim is not None:
        trim(0)


def _find_trim() -> Callable[[int], int] | None:
    """The function malloc_trim of glibc; None with other C libraries."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
