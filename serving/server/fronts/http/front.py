"""The HTTP port of the server: its sockets, and the thread in which uvicorn works on it."""

import errno
import functools
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvicorn

from serving.server.fronts.http.application import make_application
from serving.server.fronts.http.limits import Limits
from serving.server.fronts.http.messages import Request, Response
from serving.server.fronts.http.protocol import LimitedProtocol

_BACKLOG = 512


class HttpFront:
    """An HTTP port, answered by a function in threads of its own.

    Attributes:
        port: number of the port.
    """

    def __init__(
        self,
        host: str,
        port: int,
        metrics_text: Callable[[], str],
        answer: Callable[[Request], Response],
        threads: int = 8,
        limits: Limits | None = None,
    ) -> None:
        """Opens the port; `start` begins to answer.

        Args:
            host: address to listen on.
            port: number of the port; 0 takes a free one.
            metrics_text: makes the text of the metrics, which every port has.
            answer: answers all other requests, called by several threads at a time.
            threads: number of these.
            limits: how much a caller may take.

        Raises:
            OSError: the port can't be opened.
        """
        limits = limits or Limits()
        self._sockets = _open_sockets(host, port)
        self.port: int = self._sockets[0].getsockname()[1]
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="http")
        protocol: Any = functools.partial(LimitedProtocol, limits=limits)
        self._config = uvicorn.Config(
            make_application(metrics_text, answer, self._pool, limits),
            loop="asyncio",
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # hostile requests would fill the log with warnings
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=limits.idle_seconds,  # type: ignore[arg-type]  # any number of seconds will do
            h11_max_incomplete_event_size=limits.head_bytes,
        )
        self._server = uvicorn.Server(self._config)
        self._thread = threading.Thread(
            target=self._server.run, args=(self._sockets,), name="http", daemon=True
        )

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    @property
    def connections(self) -> int:
        """Number of connections that are open now."""
        return len(self._server.server_state.connections)

    def begin_stop(self, grace_seconds: float) -> None:
        """Closes the port and all idle connections; requests under way go on.

        Args:
            grace_seconds: how long these may take.
        """
        self._config.timeout_graceful_shutdown = grace_seconds  # type: ignore[assignment]  # as above
        self._server.should_exit = True

    def stop(self, grace_seconds: float = 1.0) -> None:
        """Closes the port, and waits until all requests are answered or the time is over.

        Args:
            grace_seconds: how long requests under way get, if `begin_stop` was not called.
        """
        if not self._server.should_exit:
            self.begin_stop(grace_seconds)
        if self._thread.is_alive():
            self._thread.join()
        for listener in self._sockets:
            listener.close()
        self._pool.shutdown(wait=False, cancel_futures=True)


def _open_sockets(host: str, port: int) -> list[socket.socket]:
    """Listens on every address of a host, on one number."""
    sockets: list[socket.socket] = []
    reason = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, _, _, _, address in dict.fromkeys(found):
        try:
            sockets.append(_listen(family, (address[0], port, *address[2:]), host))
        except OSError as error:
            reason = error
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                break
            continue  # a name may have an address of a kind that this machine does not have
        port = sockets[-1].getsockname()[1]
    else:
        if sockets:
            return sockets
    for listener in sockets:
        listener.close()
    raise reason


def _listen(family: int, address: tuple, host: str) -> socket.socket:
    # Of this protocol by name: asyncio sends the second half of an answer without waiting for the
    # first one's receipt (40 ms) on such sockets alone.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # "::" is every address of IPv6 and IPv4, as in the real server.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
