"""What the HTTP port hands to those who answer, and what it gets back."""

import time
from collections.abc import Callable
from typing import NamedTuple


class Request(NamedTuple):
    """A request whose body has come in whole.

    Attributes:
        method: GET, POST or any other.
        target: path and query, as they came.
        body: content, no longer compressed.
        deadline: when the answer must be made, on the monotonic clock.
        is_cancelled: says whether the caller went away; any thread may ask.
    """

    method: str
    target: str
    body: bytes
    deadline: float
    is_cancelled: Callable[[], bool]

    @property
    def seconds(self) -> float:
        """Time that is left until the deadline, at least 0."""
        return max(0.0, self.deadline - time.monotonic())


class Response(NamedTuple):
    """The answer to a request.

    Attributes:
        status: the HTTP status.
        content_type: MIME type of the body.
        body: content.
    """

    status: int
    content_type: str
    body: bytes


def plain_text(status: int, text: str) -> Response:
    """Makes an answer of one line of text."""
    return Response(status, "text/plain; charset=utf-8", text.encode() + b"\n")
