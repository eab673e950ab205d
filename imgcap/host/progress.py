"""A progress bar that is readable in a terminal and in a log file."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

BAR_WIDTH = 24
# Seconds between two drawings: more often than people can read only costs time, and a log file
# needs a line only now and then.
TERMINAL_INTERVAL = 0.1
LOG_INTERVAL = 15.0
# Seconds between two looks at work that others do; a look may take a twentieth of the time.
LOOK_INTERVAL, LOOK_SHARE = 1.0, 1 / 20


class Progress:
    """A line on standard error: what is done, how far, how fast, and how long it still takes.

    It is redrawn in a terminal; a log gets a new line now and then. Use as a context manager; the
    last state stays on the screen.
    """

    def __init__(self, label: str, total: int, unit: str, stream: TextIO | None = None) -> None:
        """Starts the clock.

        Args:
            label: what is being done, a few words.
            total: how many units there are; 0 if unknown.
            unit: what is counted, plural.
            stream: where to draw; standard error by default.
        """
        self._label, self._total, self._unit = label, total, unit
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._start = self._drawn = time.monotonic()
        self._done = self._skipped = 0
        self._note = ""

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        self._draw()
        self._stream.write("\n" if self._terminal else "")
        self._stream.flush()

    def skip(self, count: int) -> None:
        """Counts units that an earlier run has done: they move the bar, but not the speed.

        Args:
            count: how many.
        """
        self._done += count
        self._skipped += count

    def advance(self, count: int = 1, note: str = "") -> None:
        """Counts finished units and redraws if it is time.

        Args:
            count: units finished since the last call.
            note: what to show at the line's end, such as the loss.
        """
        self._done += count
        self._note = note or self._note
        now = time.monotonic()
        if now - self._drawn >= (TERMINAL_INTERVAL if self._terminal else LOG_INTERVAL):
            self._drawn = now
            self._draw()

    def _draw(self) -> None:
        """Writes the line as it is now."""
        elapsed = max(time.monotonic() - self._start, 1e-6)
        rate = (self._done - self._skipped) / elapsed
        parts = [self._label, self._bar(), f"{rate:.1f} {self._unit}/s", self._time(elapsed, rate)]
        line = "  ".join(part for part in [*parts, self._note] if part)
        self._stream.write(f"\r\x1b[2K{line}" if self._terminal else f"{line}\n")
        self._stream.flush()

    def _bar(self) -> str:
        """The bar with its numbers; the number of units alone if there is no total."""
        if not self._total:
            return f"{self._done} {self._unit}"
        filled = BAR_WIDTH * min(self._done, self._total) // self._total
        return f"{'█' * filled}{'░' * (BAR_WIDTH - filled)} {self._done}/{self._total}"

    def _time(self, elapsed: float, rate: float) -> str:
        """The time that is left, or that all has taken."""
        left = self._total - self._done
        if left > 0 and rate > 0:
            return f"{clock(left / rate)} left"
        return f"{clock(elapsed)} in all"


@contextlib.contextmanager
def watched(look: Callable[[], None]) -> Iterator[None]:
    """Looks again and again, in a thread, at work that others do, and a last time at its end.

    Args:
        look: moves a bar by what it finds. An OSError counts as nothing found: a file may be
            renamed while it is listed.
    """
    ended = threading.Event()

    def watch() -> None:
        pause, last = LOOK_INTERVAL, False
        while not last:
            last = ended.wait(pause)
            started = time.monotonic()
            with contextlib.suppress(OSError):
                look()
            pause = max(LOOK_INTERVAL, (time.monotonic() - started) / LOOK_SHARE)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def clock(seconds: float) -> str:
    """Formats a duration in seconds as people read it: `4:05`, `1:00:09`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
