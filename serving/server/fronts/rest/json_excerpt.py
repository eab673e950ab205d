"""Writes values of a request back, as the real server does in the texts of its errors."""

import decimal
import math
from collections.abc import Iterator

import numpy as np

from serving.server.fronts.rest.json_text import JsonObject, JsonValue
from serving.server.fronts.rest.json_writer import JsonWriter, decimals

_FLOAT_MAX = float(np.finfo(np.float32).max)

MAX_EXCERPT = 2**16
"""Bytes of a value in an error's text; the real server has no bound, and its text of objects that
are nested n deep has n² spaces."""


def value_text(value: JsonValue) -> str:
    """Writes a value that was read, for the text of an error.

    Args:
        value: any value of JSON.

    Returns:
        The text; bytes that are no UTF-8 stand as surrogates. It ends before the first NaN or
        Infinity inside a list or an object, as the real server's, or after about MAX_EXCERPT bytes.
    """
    writer = JsonWriter(single_line=True)
    if isinstance(value, float):
        if abs(value) <= _FLOAT_MAX:
            writer.write(decimals([float(np.float32(value))])[0])
        else:
            writer.write(decimals([value], double=True)[0])
    else:
        _write_value(writer, value)
    return writer.text()[:MAX_EXCERPT].decode("utf-8", "surrogateescape")


def json_type(value: JsonValue) -> str:
    """The name of a value's type in errors, such as Number."""
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, JsonObject):
        return "Object"
    if isinstance(value, list):
        return "Array"
    return "String" if isinstance(value, bytes) else "Number"


def _write_value(writer: JsonWriter, value: JsonValue) -> None:
    """Writes a value of any depth, with a stack of its own: what is left of each open container."""
    left: list[tuple[bool, Iterator]] = [(False, iter([value]))]
    while left:
        in_object, entries = left[-1]
        try:
            entry = next(entries)
        except StopIteration:
            left.pop()
            if left:
                writer.end_object() if in_object else writer.end_list()
            continue
        if in_object:
            name, entry = entry
            writer.write_text(name)
        if isinstance(entry, JsonObject):
            writer.start_object()
            left.append((True, iter(entry.members)))
        elif isinstance(entry, list):
            writer.start_list()
            left.append((False, iter(entry)))
        elif isinstance(entry, float) and not math.isfinite(entry):
            return
        else:
            _write_scalar(writer, entry)
        if writer.size > MAX_EXCERPT:
            return


def _write_scalar(writer: JsonWriter, value: None | bool | int | float | bytes) -> None:
    if isinstance(value, bytes):
        writer.write_text(value)
    elif value is None:
        writer.write(b"null")
    elif isinstance(value, bool):
        writer.write(b"true" if value else b"false")
    elif isinstance(value, int):
        writer.write(b"%d" % value)
    else:
        writer.write(_double(value))


def _double(value: float) -> bytes:
    """The shortest decimal that is this double, with an exponent from 1e22 on and below 1e-6."""
    sign, digits, _ = decimal.Decimal(repr(value)).as_tuple()
    text = "".join(map(str, digits)).rstrip("0") or "0"
    exponent = decimal.Decimal(repr(value)).adjusted() if value else 0
    minus = "-" if sign else ""
    if 0 <= exponent < 21:
        whole = text[: exponent + 1].ljust(exponent + 1, "0")
        return f"{minus}{whole}.{text[exponent + 1 :] or '0'}".encode()
    if -6 <= exponent < 0:
        return f"{minus}0.{'0' * (-exponent - 1)}{text}".encode()
    fraction = f".{text[1:]}" if len(text) > 1 else ""
    return f"{minus}{text[0]}{fraction}e{exponent}".encode()
