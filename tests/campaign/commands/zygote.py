"""Commands in processes that start within a moment, forked from one that has imported TensorFlow.

A forked command imports nothing that costs seconds; it initialises TensorFlow itself, as a command
does that a person starts. Each leads a process group, so that it can be killed with its workers.
"""

import contextlib
import fcntl
import importlib
import io
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

MAINS = {
    "prepare": "imgcap.cli.prepare",
    "train": "imgcap.cli.train",
    "evaluate": "imgcap.cli.evaluate",
    "average": "imgcap.cli.runs.average",
    "export": "export.cli",
    "caption": "serving.cli.caption",
}
"""The module of each command's `main`."""

TRACEBACK_STATUS = 70
"""Exit status of a command that ended by an exception, with its traceback in the output."""

_PRELOADED = [
    *MAINS.values(),
    "imgcap.training.loop",
    "imgcap.evaluation.evaluate",
    "imgcap.evaluation.confidence",
    "imgcap.run.average",
    "imgcap.data.prepare.preparation",
    "imgcap.data.prepare.shard_writer",
    "export.saved_model",
    "serving.cli.local",
    "tests.campaign.commands.zygote",
]
_PATIENCE = 180.0
_WORKERS_PATIENCE = 20.0
_PIPE_BYTES = 2**20


def nothing() -> None:
    """Leaves the process of a command as it is."""


class Ended(NamedTuple):
    """What came of a command.

    Attributes:
        status: exit status; negative is the number of the signal that ended it.
        output: what it printed, standard output and error.
        seconds: from its start to its end.
    """

    status: int
    output: str
    seconds: float

    @property
    def broke(self) -> bool:
        """Whether it ended by an exception that it did not turn into a line."""
        return self.status == TRACEBACK_STATUS or "Traceback" in self.output

    def last_line(self) -> str:
        """The last line that it printed; empty if there is none."""
        return (self.output.strip().splitlines() or [""])[-1]


class Command:
    """A command that was started.

    Attributes:
        process: leads the group of all its processes.
        workers_ended: after `wait`, whether the others ended with it or soon after it.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        folder: Path,
        prepare: Callable[[], None] = nothing,
    ) -> None:
        """Starts it.

        Args:
            name: key of `MAINS`.
            arguments: its command line without the program's name.
            folder: in which it works, and beside which its output is kept.
            prepare: called in its process first; must be importable by name.
        """
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOADED)
        self._output = folder.with_name(f"{folder.name}.{time.monotonic_ns()}.output")
        # A pipe, which no limit on the size of files and no full disk reaches.
        os.mkfifo(self._output)
        self._pipe = os.open(self._output, os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._started = time.monotonic()
        self.workers_ended = False
        self.process: BaseProcess = context.Process(
            target=_become, args=(name, list(arguments), folder, self._output, prepare)
        )
        self.process.start()

    def kill(self, *, whole_group: bool) -> None:
        """Kills it as `kill -9` does; nothing happens if it has ended.

        Args:
            whole_group: whether its worker processes die with it, as when power fails.
        """
        with contextlib.suppress(ProcessLookupError):
            kill = os.killpg if whole_group else os.kill
            kill(self.process.pid or 0, signal.SIGKILL)

    def _wait_for_workers(self) -> bool:
        """Waits some seconds for the end of all its processes; returns whether they ended."""
        deadline = time.monotonic() + _WORKERS_PATIENCE
        while time.monotonic() < deadline:
            try:
                os.killpg(self.process.pid or 0, 0)
            except ProcessLookupError:
                return True
            time.sleep(0.01)
        self.kill(whole_group=True)
        return False

    def wait(self) -> Ended:
        """Waits for its end.

        Raises:
            TimeoutError: it goes on for minutes; it is killed then.
        """
        self.process.join(_PATIENCE)
        seconds = time.monotonic() - self._started
        if self.process.exitcode is None:
            self.kill(whole_group=True)
            raise TimeoutError(f"still running after {_PATIENCE:.0f} s: {self._read_output()}")
        self.workers_ended = self._wait_for_workers()
        return Ended(self.process.exitcode, self._read_output(), seconds)

    def _read_output(self) -> str:
        content = b""
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self._pipe, 65536):
                content += part
        os.close(self._pipe)
        self._output.unlink()
        return content.decode("utf-8", errors="replace")


def run(
    name: str, arguments: Sequence[str], folder: Path, prepare: Callable[[], None] = nothing
) -> Ended:
    """Runs a command to its end; the arguments are those of `Command`."""
    return Command(name, arguments, folder, prepare).wait()


def _become(
    name: str, arguments: list[str], folder: Path, output: Path, prepare: Callable[[], None]
) -> None:
    """Turns a forked process into the command."""
    os.setpgid(0, 0)
    os.chdir(folder)
    written = os.open(output, os.O_WRONLY)
    os.dup2(written, 1)
    os.dup2(written, 2)
    # The old streams know of files in which they can seek.
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), encoding="utf-8")
    sys.stderr = io.TextIOWrapper(
        io.FileIO(2, "w", closefd=False), encoding="utf-8", write_through=True
    )
    # Workers of a preparation are forked as well: a fork server of their own would import
    # TensorFlow again, which takes longer than all the rest.
    fork = multiprocessing.get_context("fork")
    multiprocessing.get_context = lambda method=None: fork  # type: ignore[assignment]
    try:
        prepare()
        status = importlib.import_module(MAINS[name]).main([f"imgcap-{name}", *arguments])
    except BaseException:
        traceback.print_exc()
        status = TRACEBACK_STATUS
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)
