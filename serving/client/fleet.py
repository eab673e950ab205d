"""One or several servers of a model, asked in turn, and waited for if none of them answers."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from imgcap.errors import ServingError
from imgcap.host.progress import Progress
from serving.client.answers import Caption, Outcome
from serving.client.blocking import CaptionClient, collect
from serving.client.connection import encode
from serving.client.errors import DeadlineExceeded, Overloaded, ServerUnavailable
from serving.client.images import ImageSource

AWAY = (ServerUnavailable, Overloaded, DeadlineExceeded)
"""Errors of a server that may answer later, unchanged."""


class TooLate(DeadlineExceeded):
    """One image that was never answered in time, while others were."""


MAX_LATE = 3
"""Times that an image may be answered too late while others are answered; then it is given up."""

_FIRST_REST, _LONGEST_REST = 0.25, 5.0  # seconds


class Fleet:
    """Servers of one model, safe to share between threads.

    A server that fails is left alone for a moment, twice as long after each failure, while the
    others are asked. An image is given up only if no server answers it for `wait` seconds.
    """

    def __init__(
        self,
        clients: Sequence[CaptionClient],
        wait: float,
        tell: Callable[[str], None] = lambda line: None,
        known: bool = False,
    ) -> None:
        """Asks nothing yet.

        Args:
            clients: a client for each server, which the fleet closes.
            wait: seconds that an image is tried for if its servers are away; 0 never waits.
            tell: called with a line when all servers are away, and with one when they are back.
            known: whether the servers have answered before; those that never did are not waited
                for, since a wrong address is more likely.
        """
        self._servers = [_Server(client) for client in clients]
        self._wait, self._tell, self._answered = wait, tell, known
        self._lock = threading.Lock()
        self._turn = 0
        self._last_answer = 0.0
        self._away = False
        self._stopped = threading.Event()

    def caption(self, image: ImageSource) -> Caption:
        """Captions one image, by whichever server answers.

        Args:
            image: an encoded file's bytes, a path, or a Pillow image.

        Raises:
            TooLate: this image was not answered in time, and others were.
            ServingError: another one of the tree in `serving.client.errors`; one of `AWAY` only
                after the servers were waited for.
        """
        image_bytes = encode(image, self._servers[0].client.max_side)
        first_failure, failures = 0.0, 0
        while True:
            server = self._next()
            try:
                caption = server.client.caption(image_bytes)
            except AWAY as error:
                now = time.monotonic()
                first_failure = first_failure or now
                failures += 1
                self._failed(server, now)
                self._refuse_to_wait(error, first_failure, failures, now)
                self._rest(error)
            else:
                self._back(server)
                return caption

    def caption_many(
        self, images: Iterable[ImageSource], concurrency: int, progress: Progress | None = None
    ) -> Iterator[Outcome]:
        """Captions any number of images, as `CaptionClient.caption_many` does.

        Args:
            images: image sources; a generator is fine.
            concurrency: number of requests under way at a time.
            progress: a bar that is advanced with each outcome.

        Yields:
            An outcome for each image, in the order they came.
        """
        for outcome in collect(self.caption, images, concurrency, self.stop):
            if progress is not None:
                progress.advance()
            yield outcome

    def stop(self) -> None:
        """Lets calls that wait for servers fail at once; later ones do not wait, either."""
        self._stopped.set()

    def close(self) -> None:
        """Closes the connections."""
        self.stop()
        for server in self._servers:
            server.client.close()

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _next(self) -> "_Server":
        """The next server in turn that needs no rest, else the one that has rested longest."""
        with self._lock:
            self._turn += 1
            order = self._servers[self._turn % len(self._servers) :]
            order += self._servers[: self._turn % len(self._servers)]
            now = time.monotonic()
            rested = [server for server in order if server.rests_until <= now]
            return rested[0] if rested else min(order, key=lambda server: server.rests_until)

    def _failed(self, server: "_Server", now: float) -> None:
        with self._lock:
            if server.rests_until <= now:  # Of calls that fail together, the first counts.
                server.rest = min(2 * server.rest or _FIRST_REST, _LONGEST_REST)
                server.rests_until = now + server.rest

    def _back(self, server: "_Server") -> None:
        with self._lock:
            server.rest = server.rests_until = 0.0
            self._answered, self._last_answer = True, time.monotonic()
            was_away, self._away = self._away, False
        if was_away:
            self._tell(f"{server.client.target} answers again: going on")

    def _refuse_to_wait(
        self, error: ServingError, first_failure: float, failures: int, now: float
    ) -> None:
        """Raises the error if its image is not to be tried again."""
        waited = now - first_failure
        if self._stopped.is_set() or not self._answered or waited >= self._wait:
            raise type(error)(f"{error}; waited {waited:.0f} s" if waited >= 1 else str(error))
        late = isinstance(error, DeadlineExceeded) and failures >= MAX_LATE
        if late and self._last_answer > first_failure:
            raise TooLate(str(error))

    def _rest(self, error: ServingError) -> None:
        """Waits until a server has rested, and tells once that all are away."""
        with self._lock:
            pause = min(server.rests_until for server in self._servers) - time.monotonic()
            first, self._away = pause > 0 and not self._away, self._away or pause > 0
        if first:
            self._tell(f"{error}; waiting up to {self._wait:g} s for it")
        if pause > 0:
            self._stopped.wait(pause)


class _Server:
    """One server.

    Attributes:
        client: asks it.
        rest: seconds that it was left alone after its last failure; 0 after an answer.
        rests_until: when it may be asked again, on the monotonic clock.
    """

    def __init__(self, client: CaptionClient) -> None:
        self.client = client
        self.rest = self.rests_until = 0.0
