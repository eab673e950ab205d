"""A connection: uvicorn's, with times within which the caller must send and read.

uvicorn alone waits for ever for the end of a head that drips in, and for a caller that does not
read its answer.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.server.fronts.http.limits import Limits

_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: 21\r\nConnection: close\r\n\r\ntoo many connections\n"
)


class LimitedProtocol(H11Protocol):
    """One connection of a caller."""

    def __init__(self, *args: Any, limits: Limits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._head_timer: asyncio.TimerHandle | None = None
        self._answer_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the parent
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            transport.write(_BUSY)
            self._close()
        else:
            self._time_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for timer in (self._head_timer, self._answer_timer):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        if not self.transport.is_closing():
            super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        self._time_head()

    def send_400_response(self, msg: str) -> None:
        if self.cycle is not None:
            # Who works on the request may answer no more: the connection has its answer.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        self._close()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._time_answer()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._time_answer()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._answer_timer is not None and not self.transport.is_closing():
            self._answer_timer.cancel()
            self._answer_timer = None

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._time_answer()

    def _time_head(self) -> None:
        """Gives the caller a time for the next head, while one is due."""
        if self.conn.their_state is h11.IDLE:
            if self._head_timer is None:
                self._head_timer = self.loop.call_later(self._limits.head_seconds, self._close)
        elif self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _time_answer(self) -> None:
        """Gives the caller a time to take what was written."""
        if self._answer_timer is None:
            self._answer_timer = self.loop.call_later(
                self._limits.answer_seconds, self.transport.abort
            )

    def _close(self) -> None:
        self.transport.close()
        self._time_answer()
