"""Reads numbers of JSON as RapidJSON 1.1 does: integers of 64 bits, all others as doubles.

That library is fast and not exact in the last bit of a double of many digits. The steps are its
own, so that the last bit is too.
"""

import math
import re

from serving.server.request_error import RequestError, invalid

_NUMBER = re.compile(rb"(-?)(0|[1-9][0-9]*)(?:(\.)([0-9]*))?")
_EXPONENT = re.compile(rb"[eE]([+-]?)([0-9]*)")
_INFINITY = b"inity"
_LIMIT = 1.7976931348623157e307
"""A tenth of the largest double."""


def read_number(text: bytes, start: int) -> tuple[int | float, int]:
    """Reads a number.

    Args:
        text: a text of JSON.
        start: place of the number's first byte.

    Returns:
        The number and the place after it. An integer that 64 bits hold is an `int`.

    Raises:
        RequestError: there is no number, or it is larger than a double.
    """
    match = _NUMBER.match(text, start)
    if match is None:
        return _read_name(text, start)
    minus, whole, point, fraction = match.groups()
    end = match.end()
    if point and not fraction:
        raise _error("Miss fraction part in number.", end)
    limit = 2**63 if minus else 2**64 - 1
    integer = int(whole[:20])
    is_integer = len(whole) <= 20 and integer <= limit
    significand, decimals = _significand(whole, fraction or b"", limit, start)
    exponent = 0
    power = _EXPONENT.match(text, end)
    if power is not None:
        end = power.end()
        if not power[2]:
            raise _error("Miss exponent in number.", end)
        exponent = _exponent(power[1], power[2], decimals, start)
    if is_integer and not point and power is None:
        return (-integer if minus else integer), end
    value = _scale(float(significand), exponent - decimals)
    return (-value if minus else value), end


def _read_name(text: bytes, start: int) -> tuple[float, int]:
    """Reads NaN, Inf or Infinity, with or without a minus."""
    minus = text[start : start + 1] == b"-"
    offset = start + minus
    for name, value in ((b"NaN", math.nan), (b"Inf", math.inf)):
        length = _common_length(text, offset, name)
        if length == len(name):
            end = offset + length
            if name == b"Inf" and text[end : end + 1] == b"i":
                length = _common_length(text, end, _INFINITY)
                end += length
                if length < len(_INFINITY):
                    raise _error("Invalid value.", end)
            return (-value if minus else value), end
        if length:
            offset += length
            break
    raise _error("Invalid value.", offset)


def _common_length(text: bytes, offset: int, word: bytes) -> int:
    """Number of bytes of a word that stand at a place of the text."""
    return next(
        (i for i in range(len(word)) if text[offset + i : offset + i + 1] != word[i : i + 1]),
        len(word),
    )


def _significand(whole: bytes, fraction: bytes, limit: int, start: int) -> tuple[int | float, int]:
    """Reads the digits before an exponent.

    Args:
        whole: digits before the point.
        fraction: digits after it.
        limit: the largest integer that is kept as one.
        start: place of the number, for errors.

    Returns:
        A number and how many of its decimals stand after the point; the digits 12.5 are (125, 1).
    """
    kept = min(len(whole), 20)
    while int(whole[:kept]) > limit:
        kept -= 1
    number: int | float = int(whole[:kept])
    for digit in whole[kept:]:
        number = float(number)
        if number >= _LIMIT:
            raise _too_big(start)
        number = number * 10 + (digit - 48)
    decimals = 0
    significant = kept - 1
    for digit in fraction:
        if isinstance(number, int):
            if number <= 2**53 - 1:
                number = number * 10 + (digit - 48)
                decimals += 1
                significant += number != 0
                continue
            number = float(number)
        if significant >= 17:
            break
        number = number * 10.0 + (digit - 48)
        decimals += 1
        significant += number > 0.0
    return number, decimals


def _exponent(sign: bytes, digits: bytes, decimals: int, start: int) -> int:
    if sign == b"-":
        return -int(digits[:10]) if len(digits) < 10 else -(10**9)
    exponent = digits[0] - 48
    for digit in digits[1:]:
        exponent = exponent * 10 + (digit - 48)
        if exponent > 308 + decimals:
            raise _too_big(start)
    return exponent


def _scale(value: float, exponent: int) -> float:
    """value · 10^exponent, in the library's steps."""
    if exponent < -308:
        value = value / 1e308
        exponent += 308
        if exponent < -308:
            return 0.0
    power = float(f"1e{abs(exponent)}") if abs(exponent) <= 308 else math.inf
    return value * power if exponent >= 0 else value / power


def _too_big(start: int) -> RequestError:
    return _error("Number too big to be stored in double.", start)


def _error(message: str, offset: int) -> RequestError:
    return invalid(f"JSON Parse error: {message} at offset: {offset}")
