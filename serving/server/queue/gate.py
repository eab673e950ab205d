"""A bound on the requests that are inside, and on those of them that run at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from serving.server.request_error import RequestError


class Gate:
    """Lets few requests run, some wait, and refuses the others at once.

    Few run at a time because each holds an image's activations.
    """

    def __init__(self, waiting: int, running: int) -> None:
        """Opens the gate.

        Args:
            waiting: number of requests inside at a time, running ones included.
            running: number of those that run at once.
        """
        self._places, self._turns = threading.Semaphore(waiting), threading.Semaphore(running)

    @contextmanager
    def turn(self, seconds: float | None) -> Iterator[None]:
        """Waits for a turn.

        Args:
            seconds: time until the caller's deadline; None is for ever.

        Raises:
            RequestError: too many wait already, or the deadline passed.
        """
        if not self._places.acquire(blocking=False):
            raise RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")
        try:
            if not self._turns.acquire(timeout=seconds):
                raise RequestError(
                    grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline exceeded before the model was free"
                )
            try:
                yield
            finally:
                self._turns.release()
        finally:
            self._places.release()
