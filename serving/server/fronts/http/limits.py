"""Limits of the HTTP port, in bytes, seconds and connections."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How much of the server a caller may take.

    Attributes:
        head_bytes: size of a request's first line and headers, or of a chunk's first line.
        body_bytes: size of a body, also after it is decompressed: room for a batch of photographs
            in base64.
        buffered_bytes: size of all bodies that are inside at a time.
        connections: number of connections at a time.
        idle_seconds: how long a connection may be silent between two requests.
        head_seconds: from the end of one request, or from the start, to the end of the next head;
            longer than `idle_seconds`.
        body_seconds: how long a body may take to come in.
        answer_seconds: how long an answer may wait for its caller to read on.
        request_seconds: how long the work on a request may take, as --rest_api_timeout_in_ms; HTTP
            has no deadline of its own.
    """

    head_bytes: int = 16 * 2**10
    body_bytes: int = 64 * 2**20
    buffered_bytes: int = 256 * 2**20
    connections: int = 512
    idle_seconds: float = 30.0
    head_seconds: float = 60.0
    body_seconds: float = 60.0
    answer_seconds: float = 60.0
    request_seconds: float = 30.0
