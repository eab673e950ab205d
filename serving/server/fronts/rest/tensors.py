"""Makes the inputs of a signature from either form of a request (util/json_tensor.cc).

`instances` has an entry for each row, `inputs` a whole tensor for each input.
"""

from collections.abc import Mapping
from typing import TypeAlias

from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo

from serving.server.fronts.rest.base64_text import is_base64
from serving.server.fronts.rest.dense import Dense, read_dense, to_proto
from serving.server.fronts.rest.json_excerpt import value_text
from serving.server.fronts.rest.json_text import JsonObject, JsonValue, Missing, name_text
from serving.server.request_error import RequestError, invalid

TensorMap: TypeAlias = Mapping[str, TensorInfo]
"""The inputs of a signature by name."""


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
    columns: dict[str, list[Dense]] = {}
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
        name: to_proto(_stack(entries), inputs[name].dtype) for name, entries in columns.items()
    }


def _stack(entries: list[Dense]) -> Dense:
    return Dense(
        [len(entries), *entries[0].shape], [value for entry in entries for value in entry.values]
    )


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
        return {name: _read_tensor(value, info.dtype) for name, info in inputs.items()}
    tensors = {}
    for name in sorted(inputs):
        found = value.find(name.encode())
        if isinstance(found, Missing):
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        tensors[name] = _read_tensor(found, inputs[name].dtype)
    return tensors


def _read_tensor(value: JsonValue, dtype: int) -> TensorProto:
    return to_proto(read_dense(value, dtype), dtype)


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
    columns: dict[str, list[Dense]],
    row: JsonObject,
    index: int,
    inputs: TensorMap,
) -> None:
    names = [name_text(name) for name, _ in row.members]
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
    columns: dict[str, list[Dense]],
    value: JsonValue,
    name: str,
    inputs: TensorMap,
) -> None:
    if name not in inputs:
        raise invalid(f"JSON object: does not have named input: {name}")
    entry = read_dense(value, inputs[name].dtype)
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
