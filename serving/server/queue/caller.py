"""The caller of a request: until when they wait, and whether they are still there."""

import threading
import time
from collections.abc import Callable

import grpc

from serving.server.request_error import RequestError

TOO_LATE = "Deadline exceeded before the model was free"

# Seconds between two looks at whether a caller who waits has gone away.
_LOOK_SECONDS = 0.05


class Caller:
    """Whoever waits for an answer; work for somebody who does not wait any more is not done."""

    def __init__(
        self, seconds: float | None = None, is_cancelled: Callable[[], bool] | None = None
    ) -> None:
        """Starts the clock.

        Args:
            seconds: time until the caller's deadline; None is for ever.
            is_cancelled: says whether the caller went away, from any thread and without waiting;
                None if that cannot be known.
        """
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._is_cancelled = is_cancelled or (lambda: False)

    @property
    def seconds(self) -> float | None:
        """Time until the deadline, at least 0; None is for ever."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def refusal(self, too_late: str = TOO_LATE) -> RequestError | None:
        """Makes the error of a caller who does not wait any more; None if they do.

        Args:
            too_late: the error's text if the deadline has passed.
        """
        if self.seconds == 0.0:
            return RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, too_late)
        if self._is_cancelled():
            return RequestError(grpc.StatusCode.CANCELLED, "The caller went away")
        return None

    def check(self, too_late: str = TOO_LATE) -> None:
        """Raises the error of a caller who does not wait any more.

        Raises:
            RequestError: the deadline has passed, or the caller went away.
        """
        refusal = self.refusal(too_late)
        if refusal is not None:
            raise refusal

    def wait(self, event: threading.Event, too_late: str = TOO_LATE) -> None:
        """Waits for an event as long as the caller waits.

        Raises:
            RequestError: the deadline has passed, or the caller went away.
        """
        while True:
            seconds = self.seconds
            if event.wait(_LOOK_SECONDS if seconds is None else min(seconds, _LOOK_SECONDS)):
                return
            self.check(too_late)
