"""The worker processes that train one run together: the chief alone writes and prints, and all
decide alike.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import tensorflow as tf

from imgcap.errors import ImgcapError, RunError
from imgcap.training.machines.cluster import WORKER
from imgcap.training.machines.interruption import PREEMPTED_STATUS

Result = TypeVar("Result")


class WorkerLost(RunError):
    """Another worker ended in the middle of the work; the same command on all of them goes on."""

    exit_status = PREEMPTED_STATUS


class Workers:
    """This process and its peers. A process that trains alone is its own chief, and pays nothing.

    Methods that talk to the peers must be called by all of them, in the same order.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        """Finds this process among its peers.

        Args:
            strategy: from `set_up`.
        """
        self._strategy = strategy
        self.rank, self.count = 0, 1
        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            resolver = strategy.cluster_resolver
            self.rank = resolver.task_id
            self.count = resolver.cluster_spec().num_tasks(WORKER)

    @property
    def is_chief(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def gather(self, value: int) -> list[int]:
        """The numbers of all workers, by rank."""
        if self.count == 1:
            return [value]
        own = np.zeros(self.count, np.int64)
        own[self.rank] = value
        return self._strategy.reduce("sum", tf.constant(own), axis=None).numpy().tolist()

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any worker."""
        return any(self.gather(int(flag)))

    def together(self, work: Callable[[], Result]) -> Result:
        """Does something on every worker, and waits for all: if one fails, none goes on.

        Args:
            work: what to do; must not itself talk to the peers.

        Returns:
            The result of `work` on this worker.

        Raises:
            ImgcapError: the error of `work` on this worker; a RunError if it failed on another.
        """
        results: list[Result] = []
        error: ImgcapError | None = None
        try:
            results.append(work())
        except ImgcapError as caught:
            error = caught
        if self.any(error is not None):
            raise error or RunError("another worker can't go on: the line it printed says why")
        return results[0]

    def on_chief(self, work: Callable[[], Result]) -> Result | None:
        """Lets the chief do something while the others wait.

        Args:
            work: what to do; must not itself talk to the peers.

        Returns:
            The result of `work` on the chief; None on the others.

        Raises:
            ImgcapError: the error of `work` on the chief; a RunError on the others.
        """
        return self.together(work if self.is_chief else lambda: None)

    @contextlib.contextmanager
    def only_chief_prints(self) -> Iterator[None]:
        """Hides all that the other workers print while the context lasts."""
        with contextlib.ExitStack() as stack:
            if not self.is_chief:
                nowhere = stack.enter_context(open(os.devnull, "w"))
                stack.enter_context(contextlib.redirect_stdout(nowhere))
                stack.enter_context(contextlib.redirect_stderr(nowhere))
            yield

    @contextlib.contextmanager
    def loss_of_peer_told(self) -> Iterator[None]:
        """Turns TensorFlow's errors about a peer that is gone into one line.

        Raises:
            WorkerLost: a worker ended while others still needed it.
        """
        try:
            yield
        except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError):
            if self.count == 1:
                raise
            raise WorkerLost(
                "another worker is gone, its own output says why: start the same command on all "
                "workers again; they go on from the last checkpoint"
            ) from None
