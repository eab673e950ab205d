"""Reads a tensor of one type from nested lists of JSON, and writes it into its message.

A list is a dimension, its first entry tells the next one, and all entries must agree with it.
Integers must fit their type's 32 or 64 bits; decimals are rounded to their type, to infinity if
they are too large for it. Bytes are texts, or objects {"b64": "…"}.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import grpc
import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.framework.tensor_shape_pb2 import TensorShapeProto

from serving.server.fronts.rest.base64_text import decode_base64
from serving.server.fronts.rest.json_excerpt import json_type, value_text
from serving.server.fronts.rest.json_text import JsonObject, JsonValue
from serving.server.models.messages import type_name
from serving.server.request_error import RequestError, invalid

_BLOCK = 2**14


class _Kind(NamedTuple):
    """How values of JSON become a tensor of one type.

    Attributes:
        accepts: whether a single value can be taken.
        read_as: numpy's type that holds every accepted value.
        dtype: numpy's type of the tensor.
    """

    accepts: Callable[[JsonValue], bool]
    read_as: type
    dtype: type


def _integer(low: int, high: int) -> Callable[[JsonValue], bool]:
    return lambda value: type(value) is int and low <= value <= high


def _is_number(value: JsonValue) -> bool:
    return type(value) in (int, float)


_int32 = _integer(-(2**31), 2**31 - 1)
# Small integers are read as 32 bits and cut to their own, as the real server does: 256 is 0.
_KINDS = {
    types_pb2.DT_FLOAT: _Kind(_is_number, np.float64, np.float32),
    types_pb2.DT_DOUBLE: _Kind(_is_number, np.float64, np.float64),
    types_pb2.DT_INT32: _Kind(_int32, np.int32, np.int32),
    types_pb2.DT_INT16: _Kind(_int32, np.int32, np.int16),
    types_pb2.DT_INT8: _Kind(_int32, np.int32, np.int8),
    types_pb2.DT_UINT8: _Kind(_int32, np.int32, np.uint8),
    types_pb2.DT_INT64: _Kind(_integer(-(2**63), 2**63 - 1), np.int64, np.int64),
    types_pb2.DT_UINT32: _Kind(_integer(0, 2**32 - 1), np.uint32, np.uint32),
    types_pb2.DT_UINT64: _Kind(_integer(0, 2**64 - 1), np.uint64, np.uint64),
    types_pb2.DT_BOOL: _Kind(lambda value: isinstance(value, bool), np.bool_, np.bool_),
    types_pb2.DT_STRING: _Kind(lambda value: isinstance(value, bytes), object, object),
}


class Dense(NamedTuple):
    """A tensor's shape and its values in order.

    Attributes:
        shape: the dimensions.
        values: as many values as these hold.
    """

    shape: list[int]
    values: list


def read_dense(value: JsonValue, dtype: int) -> Dense:
    """Reads nested lists, depth first, so that the first error is the one that is told.

    Args:
        value: a list of any depth, or a single value.
        dtype: the tensor's type, a value of the enum `DataType`.

    Raises:
        RequestError: values of other types, or lists of different lengths on one level.
    """
    shape: list[int] = []
    first = value
    while isinstance(first, list):
        shape.append(len(first))
        if not first:
            break
        first = first[0]
    values: list = []
    if not isinstance(value, list):
        _read_leaf(value, 0, shape, dtype, values)
        return Dense(shape, values)
    _check_length(value, 0, shape)
    left: list[Iterator[JsonValue]] = [_entries(value, 0, shape, dtype, values)]
    while left:
        entry = next(left[-1], None)
        if entry is None:
            left.pop()
            continue
        assert isinstance(entry, list)
        level = len(left)
        _check_length(entry, level, shape)
        left.append(_entries(entry, level, shape, dtype, values))
    return Dense(shape, values)


def _entries(
    entries: list[JsonValue], level: int, shape: list[int], dtype: int, values: list
) -> Iterator[JsonValue]:
    """Takes the values of a list, and yields the lists in it, in order."""
    if level == len(shape) - 1 and _take_all(entries, dtype, values):
        return
    for entry in entries:
        if isinstance(entry, list):
            yield entry
        else:
            _read_leaf(entry, level + 1, shape, dtype, values)


def _take_all(entries: list[JsonValue], dtype: int, values: list) -> bool:
    """Takes a whole list of values of one type, if it is one that needs no closer look."""
    kind = _KINDS.get(dtype)
    types = set().union(*(map(type, block) for block in _blocks(entries)))
    if kind is None or not types:
        return False
    if kind.read_as is object:
        plain = types == {bytes}
    elif kind.read_as is np.float64:
        plain = types <= {int, float}
    elif kind.read_as is np.bool_:
        plain = types == {bool}
    else:
        plain = types == {int} and kind.accepts(min(entries)) and kind.accepts(max(entries))  # type: ignore[type-var]  # all are integers here
    if plain:
        values.extend(entries)
    return plain


def _check_length(entries: list[JsonValue], level: int, shape: list[int]) -> None:
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(entries) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(entries)} at level: {level} expected "
            f"size: {shape[level]}"
        )


def _read_leaf(value: JsonValue, level: int, shape: list[int], dtype: int, values: list) -> None:
    if level != len(shape):
        raise invalid(
            f"JSON Value: {value_text(value)} found at incorrect level: {level + 1} in the JSON "
            f"DOM. Expected at level: {len(shape)}"
        )
    kind = _KINDS.get(dtype)
    if isinstance(value, JsonObject):
        if dtype != types_pb2.DT_STRING:
            raise _type_error(value, dtype)
        values.append(decode_base64(value))
    elif kind is None:
        raise RequestError(
            grpc.StatusCode.UNIMPLEMENTED,
            f"Conversion of JSON Value: {value_text(value)} to type: {type_name(dtype)}",
        )
    elif not kind.accepts(value):
        raise _type_error(value, dtype)
    else:
        values.append(value)


def _type_error(value: JsonValue, dtype: int) -> RequestError:
    return invalid(
        f"JSON Value: {value_text(value)} Type: {json_type(value)} is not of expected type: "
        f"{type_name(dtype)}"
    )


def to_proto(dense: Dense, dtype: int) -> TensorProto:
    """Writes a tensor into its message.

    Args:
        dense: shape and values.
        dtype: the type that the values were read as.
    """
    dims = [TensorShapeProto.Dim(size=size) for size in dense.shape]
    proto = TensorProto(dtype=dtype, tensor_shape=TensorShapeProto(dim=dims))
    kind = _KINDS.get(dtype)
    if kind is None:
        return proto  # without any value, else it would have been refused
    if kind.dtype is object:
        proto.string_val.extend(dense.values)
        return proto
    # Beyond the largest number is infinity, without a warning.
    with np.errstate(over="ignore"):
        proto.tensor_content = b"".join(
            np.array(block, kind.read_as).astype(kind.dtype).tobytes()
            for block in _blocks(dense.values)
        )
    return proto


def _blocks(values: list) -> Iterator[list]:
    """Cuts a list in pieces, since other threads stand still while numpy reads a whole one."""
    for start in range(0, len(values), _BLOCK):
        yield values[start : start + _BLOCK]
