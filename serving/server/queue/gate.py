"""A bound on the requests that are inside, by number and by bytes, and the turns to run."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from serving.server.queue.caller import Caller
from serving.server.queue.options import DEFAULT_MAX_BYTES
from serving.server.request_error import RequestError


class Gate:
    """Lets few requests run, some wait, and refuses the others at once.

    Few run at a time because each holds an image's activations. Requests of many rows have turns of
    their own, fewer than half of all, so that they never keep small ones waiting.
    """

    def __init__(self, waiting: int, running: int, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        """Opens the gate.

        Args:
            waiting: number of requests inside at a time, running ones included.
            running: number of small ones that run at once.
            max_bytes: size of all requests inside at a time.
        """
        self._max_requests, self._max_bytes = waiting, max_bytes
        self._requests = self._bytes = 0
        self._lock = threading.Lock()
        self._small, self._large = _Turns(running), _Turns(max(1, running // 2))

    @contextmanager
    def place(self, size: int) -> Iterator[None]:
        """Takes a place inside, at once or not at all.

        Args:
            size: bytes of the request.

        Raises:
            RequestError: too many are inside, or they are too large.
        """
        with self._lock:
            if self._requests >= self._max_requests:
                raise _exhausted("Server Threadpool Exhausted")
            if self._bytes + size > self._max_bytes:
                raise _exhausted(
                    f"A request of {size} bytes finds no room: those inside have {self._bytes} "
                    f"bytes, and all together may have {self._max_bytes}"
                )
            self._requests += 1
            self._bytes += size
        try:
            yield
        finally:
            with self._lock:
                self._requests -= 1
                self._bytes -= size

    @contextmanager
    def turn(self, caller: Caller, large: bool = False) -> Iterator[None]:
        """Waits for a turn to run, first come, first served.

        Args:
            caller: who waits.
            large: whether the turn is one of those for requests of many rows.

        Raises:
            RequestError: the deadline passed, or the caller went away.
        """
        turns = self._large if large else self._small
        with turns.turn(caller):
            yield

    @property
    def requests(self) -> int:
        """Number of requests that are inside now."""
        return self._requests


class _Turns:
    """A number of turns, handed on in the order in which they were asked for.

    A semaphore would do but for the order: whoever gives a turn back could take it again before
    those who wait for it.
    """

    def __init__(self, number: int) -> None:
        self._free = number
        self._queue: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, caller: Caller) -> Iterator[None]:
        """Waits for a turn as long as the caller waits."""
        mine = threading.Event()
        with self._lock:
            if self._free:
                self._free -= 1
                mine.set()
            else:
                self._queue.append(mine)
        try:
            caller.wait(mine)
            caller.check()
            yield
        finally:
            with self._lock:
                if mine in self._queue:
                    self._queue.remove(mine)
                elif self._queue:
                    self._queue.popleft().set()
                else:
                    self._free += 1


def _exhausted(details: str) -> RequestError:
    return RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, details)
