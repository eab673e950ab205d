"""Calls timed in a process of their own, since thread settings hold for a whole process."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from imgcap.errors import RunError

Ask = Callable[..., list[float]]
"""Asks for some calls, in numbers that the script knows; returns the seconds of each."""


@contextlib.contextmanager
def timing_process(script: Path, *arguments: object) -> Iterator[Ask]:
    """Runs a script that answers each line of its input with the seconds of some calls, in a line.

    Args:
        script: finds nothing of this package when it imports, nor the user's environment.
        arguments: of the script.

    Yields:
        A function that asks it, and raises a `RunError` where it has ended.
    """
    command = [sys.executable, "-I", str(script), *map(str, arguments)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:

        def ask(*numbers: int) -> list[float]:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(" ".join(map(str, numbers)) + "\n")
                process.stdin.flush()
            answer = process.stdout.readline()
            if not answer:
                raise RunError(
                    f"{' '.join(command)} ended before its answer: run it by hand to see why"
                )
            return [float(seconds) for seconds in answer.split()]

        yield ask
