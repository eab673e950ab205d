"""Waiting in tests: for a condition by the clock, and for asyncio without one."""

import asyncio
import selectors
import time
from collections.abc import Callable


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Waits until a condition holds; fails after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps over every pause, so that no test depends on the machine.

    `asyncio.sleep(0.3)` returns at once, and then `time()` is 0.3 s later; computing takes no time
    at all.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jumping.now


class _JumpingSelector(selectors.DefaultSelector):
    """Adds to its clock the time that it should have waited."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:  # nothing is due: only input from outside can go on
            return super().select(None)
        self.now += max(0.0, timeout)
        return super().select(0)
