"""Bytes inside JSON: an object {"b64": "…"} with base64 by the rules of the real server."""

import binascii
import string

from serving.server.fronts.rest.json_excerpt import value_text
from serving.server.fronts.rest.json_text import JsonObject, JsonValue
from serving.server.request_error import invalid

_ALPHABET = (string.ascii_letters + string.digits + "+/").encode()
_SPACE = string.whitespace.encode()


def is_base64(value: JsonValue) -> bool:
    """Whether a value is an object that stands for bytes: {"b64": "…"} and nothing else."""
    return (
        isinstance(value, JsonObject)
        and len(value.members) == 1
        and value.members[0][0] == b"b64"
        and isinstance(value.members[0][1], bytes)
    )


def decode_base64(value: JsonObject) -> bytes:
    """Reads the bytes that an object stands for.

    White space is skipped; the padding may be left out, or be dots.

    Args:
        value: any object.

    Raises:
        RequestError: it stands for no bytes, or they are no base64.
    """
    if not is_base64(value):
        raise invalid(f"JSON Value: {value_text(value)} not formatted correctly for base64 data")
    text = value.members[0][1]
    assert isinstance(text, bytes)
    text = text.translate(None, _SPACE)
    digits = text.rstrip(b"=.")
    padding = -len(digits) % 4
    wrong_end = padding == 3 or len(text) - len(digits) not in (0, padding)
    if wrong_end or digits.translate(None, _ALPHABET):
        raise invalid("Unable to base64 decode")
    return binascii.a2b_base64(digits + b"=" * padding)
