"""The application behind the HTTP port: takes bodies in, has requests answered by threads.

The event loop only moves bytes. Whoever sends slowly holds no thread, and whoever goes away is
told to the thread that works for him.
"""

import asyncio
import contextlib
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from http import HTTPStatus
from typing import Any

from starlette import requests, responses
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from serving.server.fronts.http.bodies import NoRoom, Place, Room, TooLarge
from serving.server.fronts.http.limits import Limits
from serving.server.fronts.http.messages import Request, Response, plain_text

METRICS_PATH = "/monitoring/prometheus/metrics"
"""Path of the metrics, as in TensorFlow Serving."""

_SCHEME_AND_HOST = re.compile(rb"^[A-Za-z][-+.\w]*://[^/?]*")

# A refused caller that is still sending would not read the refusal if the connection broke off.
_LINGER_SECONDS = 1.0


def make_application(
    metrics_text: Callable[[], str],
    answer: Callable[[Request], Response],
    pool: Executor,
    limits: Limits,
) -> Router:
    """Makes the application of a port.

    Args:
        metrics_text: makes the text of the metrics.
        answer: answers all other requests, called by the threads of the pool.
        pool: the threads for that.
        limits: how much a caller may take.
    """

    async def metrics(request: requests.Request) -> responses.Response:
        return responses.Response(
            metrics_text(), media_type="text/plain; version=0.0.4; charset=utf-8"
        )

    # Anything else goes to one place, in which paths are read as the real server reads them.
    return Router(
        [Route(METRICS_PATH, metrics)],
        redirect_slashes=False,
        default=_Endpoint(answer, pool, limits),
    )


def no_other_path(request: Request) -> Response:
    """The answer of a port that has only metrics."""
    return plain_text(HTTPStatus.NOT_FOUND, f"see {METRICS_PATH}")


class _Refusal(Exception):
    """A request that is not read to its end.

    Attributes:
        response: the answer, after which the connection is closed.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.response = plain_text(status, text)


class _Endpoint:
    """Takes a body in, has the request answered, and watches the caller meanwhile."""

    def __init__(
        self, answer: Callable[[Request], Response], pool: Executor, limits: Limits
    ) -> None:
        self._answer, self._pool, self._limits = answer, pool, limits
        self._room = Room(limits.buffered_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = requests.Request(scope, receive)
        with Place(self._room, self._limits.body_bytes) as place:
            try:
                body = await self._read_body(request, place)
                response = await self._compute(request, body, place)
            except requests.ClientDisconnect:
                return
            except _Refusal as refusal:
                await _refuse(refusal.response, receive, send)
                return
        headers = {"content-type": response.content_type}
        await responses.Response(response.body, response.status, headers)(scope, receive, send)

    async def _read_body(self, request: requests.Request, place: Place) -> bytes:
        headers = request.headers
        if "transfer-encoding" in headers and (
            "content-length" in headers or request.scope["http_version"] == "1.0"
        ):
            # Proxies may take the one or the other for the end of this request.
            raise _Refusal(HTTPStatus.BAD_REQUEST, "Transfer-Encoding makes the length ambiguous")
        if int(headers.get("content-length", "0")) > self._limits.body_bytes:
            raise _Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too large")
        pieces: list[bytes] = []

        async def read() -> None:
            size = 0
            async for piece in request.stream():
                place.take(len(piece), size)
                size += len(piece)
                pieces.append(piece)

        try:
            await asyncio.wait_for(read(), self._limits.body_seconds)
        except asyncio.TimeoutError:
            raise _Refusal(HTTPStatus.REQUEST_TIMEOUT, "the body came too slowly") from None
        except TooLarge:
            raise _Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too large") from None
        except NoRoom:
            raise _Refusal(
                HTTPStatus.SERVICE_UNAVAILABLE, "too many bytes of others are inside: try again"
            ) from None
        return b"".join(pieces)

    async def _compute(self, request: requests.Request, body: bytes, place: Place) -> Response:
        """Has a thread answer, and tells it if the caller goes away; that one gets no answer."""
        gone = threading.Event()
        target = _target(request.scope)
        is_gzip = "gzip" in request.headers.get("content-encoding", "")
        deadline = time.monotonic() + self._limits.request_seconds

        def work() -> Response:
            if gone.is_set():
                return plain_text(HTTPStatus.BAD_REQUEST, "the caller is gone")
            try:
                content = place.inflate(body) if is_gzip else body
            except TooLarge:
                return plain_text(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too large")
            except NoRoom:
                return plain_text(
                    HTTPStatus.SERVICE_UNAVAILABLE, "too many bytes of others are inside: try again"
                )
            return self._answer(Request(request.method, target, content, deadline, gone.is_set))

        job = asyncio.get_running_loop().run_in_executor(self._pool, work)
        watch = asyncio.ensure_future(_until_gone(request.receive))
        either: list[asyncio.Future[Any]] = [job, watch]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if job.done():
                return job.result()
            gone.set()
            await asyncio.wait({job})  # the body's room is taken until the thread is through
            raise requests.ClientDisconnect
        finally:
            gone.set()
            watch.cancel()


def _target(scope: Scope) -> str:
    """Path and query as they came; before them a proxy may write scheme and host."""
    target: bytes = scope["raw_path"]
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    return _SCHEME_AND_HOST.sub(b"", target).decode("latin-1")


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse(response: Response, receive: Receive, send: Send) -> None:
    """Answers at once, reads on for a moment, and closes the connection."""
    headers = [
        (b"content-type", response.content_type.encode()),
        (b"content-length", str(len(response.body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": True})

    async def discard() -> None:
        while (await receive()).get("more_body"):
            pass

    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(discard(), _LINGER_SECONDS)
    await send({"type": "http.response.body", "body": b""})
