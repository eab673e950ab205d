"""Makes tensors from values of JSON by the rules of the real server (util/json_tensor.cc).

A list is a dimension, its first entry tells the next one, and all entries must agree with it.
Integers must fit their type's 32 or 64 bits; decimals are rounded to their type, to infinity if
they are too large for it. Bytes are texts, or objects {"b64": "…"}.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

import grpc
import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.framework.tensor_shape_pb2 import TensorShapeProto
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo

from serving.server.fronts.rest.base64_text import decode_base64, is_base64
from serving.server.fronts.rest.json_excerpt import json_type, value_text
from serving.server.fronts.rest.json_text import JsonObject, JsonValue, Missing
from serving.server.request_error import RequestError, invalid

MAX_RANK = 254
"""Dimensions of a TensorFlow tensor at most."""


_BLOCK = 2**14

TensorMap: TypeAlias = Mapping[str, TensorInfo]
"""The inputs of a signature by name."""


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


class _Dense(NamedTuple):
    """A tensor's shape and its values in order.

    Attributes:
        shape: the dimensions.
        values: as many values as these hold.
    """

    shape: list[int]
    values: list


def tensors_of_instances(rows: list[JsonValue], inputs: TensorMap) -> dict[str, TensorProto]:
    """Makes the inputs from `instances`: one entry a row, all of one shape.

    Args:
        rows: values, or objects with a value for each input; at least one.
        inputs: the inputs of a signature by name.

    Raises:
        RequestError: not what the signature takes.
    """
    if not isinstance(rows[0], JsonObject) and len(inputs) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    columns: dict[str, list[_Dense]] = {}
    named = _is_named(rows[0])
    for index, row in enumerate(rows):
        if _is_named(row) != named:
            raise invalid(
                f"Expecting object but got list at item {index} of input list"
                if named
                else f"Expecting value/list but got object at item {index} of input list"
            )
        if isinstance(row, JsonObject) and named:
            _add_object(columns, row, index, inputs)
            continue
        (name,) = inputs
        with _Context(f"Failed to process element: {index} of 'instances' list. Error: "):
            _add_entry(columns, row, name, inputs)
    return {
        name: _to_proto(
            name,
            _Dense(
                [len(entries), *entries[0].shape],
                [value for entry in entries for value in entry.values],
            ),
            inputs[name].dtype,
        )
        for name, entries in columns.items()
    }


def tensors_of_inputs(value: JsonValue, inputs: TensorMap) -> dict[str, TensorProto]:
    """Makes the inputs from `inputs`: whole tensors by name, or the only one without a name.

    Args:
        value: an object with a value for each input, or a value.
        inputs: the inputs of a signature by name.

    Raises:
        RequestError: not what the signature takes.
    """
    if not isinstance(value, JsonObject) or not _is_named(value):
        if len(inputs) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        return {name: _read_tensor(name, value, info.dtype) for name, info in inputs.items()}
    tensors = {}
    for name in sorted(inputs):
        found = value.find(name.encode())
        if isinstance(found, Missing):
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        tensors[name] = _read_tensor(name, found, inputs[name].dtype)
    return tensors


def _read_tensor(name: str, value: JsonValue, dtype: int) -> TensorProto:
    return _to_proto(name, _read_dense(value, dtype), dtype)


def text_of(name: bytes) -> str:
    """A member's name as the real server reads it: up to a zero byte, and not only UTF-8."""
    return name.partition(b"\0")[0].decode("utf-8", "surrogateescape")


class _Context:
    """Puts words before the text of any error that is raised inside."""

    def __init__(self, words: str) -> None:
        self._words = words

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, RequestError):
            raise invalid(f"{self._words}{error.code.name}: {error.details}") from None


def _is_named(value: JsonValue) -> bool:
    return isinstance(value, JsonObject) and not is_base64(value)


def _add_object(
    columns: dict[str, list[_Dense]],
    row: JsonObject,
    index: int,
    inputs: TensorMap,
) -> None:
    names = [text_of(name) for name, _ in row.members]
    for name, (_, value) in zip(names, row.members, strict=True):
        words = f"Failed to process element: {index} key: {name} of 'instances' list. Error: "
        with _Context(words):
            _add_entry(columns, value, name, inputs)
    if set(names) != set(inputs):
        raise invalid(
            f"Failed to process element: {index} of 'instances' list. JSON object: "
            f"{value_text(row)} keys must be equal to: {','.join(sorted(inputs))}"
        )


def _add_entry(
    columns: dict[str, list[_Dense]],
    value: JsonValue,
    name: str,
    inputs: TensorMap,
) -> None:
    if name not in inputs:
        raise invalid(f"JSON object: does not have named input: {name}")
    entry = _read_dense(value, inputs[name].dtype)
    entries = columns.setdefault(name, [])
    if entries:
        first = entries[0]
        if len(first.values) != len(entry.values):
            raise invalid(
                f"Expecting tensor size: {len(first.values)} but got: {len(entry.values)}"
            )
        if first.shape != entry.shape:
            raise invalid(
                f"Expecting shape {_shape_text(first.shape)} but got: {_shape_text(entry.shape)}"
            )
    entries.append(entry)


def _shape_text(shape: list[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _read_dense(value: JsonValue, dtype: int) -> _Dense:
    """Reads nested lists depth first, so that the first error is the one that is told."""
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
        return _Dense(shape, values)
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
    return _Dense(shape, values)


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
            f"Conversion of JSON Value: {value_text(value)} to type: {_type_name(dtype)}",
        )
    elif not kind.accepts(value):
        raise _type_error(value, dtype)
    else:
        values.append(value)


def _type_error(value: JsonValue, dtype: int) -> RequestError:
    return invalid(
        f"JSON Value: {value_text(value)} Type: {json_type(value)} is not of expected type: "
        f"{_type_name(dtype)}"
    )


def _type_name(dtype: int) -> str:
    return types_pb2.DataType.Name(dtype).removeprefix("DT_").lower()


def _to_proto(name: str, dense: _Dense, dtype: int) -> TensorProto:
    if len(dense.shape) > MAX_RANK:
        raise invalid(f"tensor parsing error: {name}")
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
