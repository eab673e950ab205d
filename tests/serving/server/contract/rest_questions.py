"""Asking over REST, and what the texts of answers are made of."""

import http.client
import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.serving.server.contract.parcel_model import NAME

MODEL = f"/v1/models/{NAME}"
PREDICT = f"{MODEL}:predict"
ONE = b'{"instances": ["ab"]}'


class Answer(NamedTuple):
    """What came back over HTTP.

    Attributes:
        status: the HTTP status.
        content_type: the header of that name.
        text: the body.
    """

    status: int
    content_type: str | None
    text: str


Ask = Callable[..., Answer]
"""A function of method, path and, if there are any, body and headers."""


def asker(address: str) -> Ask:
    """Makes a function that asks a server one question.

    Args:
        address: host:port of REST.
    """

    def ask(
        method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection(address, timeout=20)
        try:
            connection.request(method, path, body or None, headers or {})
            response = connection.getresponse()
            text = response.read().decode("utf-8", "surrogateescape")
            return Answer(response.status, response.headers["Content-Type"], text)
        finally:
            connection.close()

    return ask


def error_of(answer: Answer) -> str:
    """The text of an error, without the nodes of a graph; its layout is checked."""
    assert answer.content_type == "application/json"
    assert re.fullmatch(r'\{\n    "error": ".*"\n\}', answer.text)
    return json.loads(answer.text)["error"].split("\n\t [[")[0]


def weighed(*parcels: tuple[int, str], version: float = 2.0) -> list[dict[str, Any]]:
    """The rows that the model answers.

    Args:
        parcels: the size and the last two bytes (in base64) of each parcel.
        version: the version that answers.
    """
    return [
        {
            "label": f"weighs {size}",
            "pair": [float(size), version],
            "size": size,
            "tail_bytes": {"b64": tail},
        }
        for size, tail in parcels
    ]


def of(signature: str, rest: str) -> bytes:
    """A body that names a signature."""
    return f'{{"signature_name": "{signature}", {rest}}}'.encode()


def parse_error(words: str, offset: int) -> str:
    """The text of an error of JSON."""
    return f"JSON Parse error: {words} at offset: {offset}"


def whole(body: str, words: str) -> str:
    """The text of an error that shows the value it is about."""
    return f"JSON Value: {body} {words}"


def mistyped(value: str, kind: str, dtype: str) -> str:
    """The text of an error of a value that is not of the type due."""
    return whole(value, f"Type: {kind} is not of expected type: {dtype}")
