"""Writes answers as JSON, with the layout and the numbers of the real server (util/json_tensor.cc).

Rows are for `instances`, columns for `inputs`. Texts of an output whose name ends with _bytes are
written as {"b64": "…"}.
"""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import tensorflow as tf
from google.protobuf import json_format
from google.protobuf.message import Message
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis.classification_pb2 import ClassificationResult
from tensorflow_serving.apis.get_model_metadata_pb2 import SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.apis.regression_pb2 import RegressionResult

from serving.server.fronts.rest.json_writer import JsonWriter, decimals, quote
from serving.server.models.messages import type_name
from serving.server.request_error import invalid

_INTEGERS = {
    types_pb2.DT_INT8,
    types_pb2.DT_INT16,
    types_pb2.DT_INT32,
    types_pb2.DT_INT64,
    types_pb2.DT_UINT8,
    types_pb2.DT_UINT32,
    types_pb2.DT_UINT64,
}

# Where values are in the server's own answers.
_VALUE_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_STRING: "string_val",
}

_BLOCK = 2**13
"""Values that are made text at once, so that all of them never stand in memory as objects."""


class _Column:
    """The values of one output, handed out in order.

    Attributes:
        shape: the dimensions.
    """

    def __init__(self, name: str, proto: TensorProto) -> None:
        self.shape = [dim.size for dim in proto.tensor_shape.dim]
        self._in_base64 = proto.dtype == types_pb2.DT_STRING and name.endswith("_bytes")
        self._dtype = proto.dtype
        self._values = _flat(proto)
        self._next = 0

    def write(self, writer: JsonWriter, level: int) -> None:
        """Writes the next values: a list for each dimension from a level on."""
        if level >= len(self.shape):
            self._write_value(writer)
            return
        # No recursion: a tensor may have 254 dimensions.
        counts = [0]
        writer.start_list()
        while counts:
            dimension = level + len(counts) - 1
            size = self.shape[dimension]
            if counts[-1] < size and dimension == len(self.shape) - 1:
                self._write_row(writer, size)
                counts[-1] = size
            if counts[-1] == size:
                writer.end_list()
                counts.pop()
                continue
            counts[-1] += 1
            counts.append(0)
            writer.start_list()

    def _write_row(self, writer: JsonWriter, size: int) -> None:
        if self._in_base64:
            for _ in range(size):
                self._write_value(writer)
            return
        for start in range(0, size, _BLOCK):
            writer.write_entries(self._take(min(_BLOCK, size - start)))

    def _write_value(self, writer: JsonWriter) -> None:
        (token,) = self._take(1)
        if not self._in_base64:
            writer.write(token)
            return
        writer.start_object()
        writer.write_text(b"b64")
        writer.write(token)
        writer.end_object()

    def _take(self, count: int) -> list[bytes]:
        """The next values as JSON."""
        values = self._values[self._next : self._next + count]
        self._next += count
        if self._dtype == types_pb2.DT_STRING:
            in_base64 = self._in_base64
            return [quote(base64.b64encode(value) if in_base64 else value) for value in values]
        if self._dtype == types_pb2.DT_BOOL:
            return [b"true" if value else b"false" for value in values]
        if self._dtype in _INTEGERS:
            return [b"%d" % value for value in values]
        if self._dtype in (types_pb2.DT_FLOAT, types_pb2.DT_HALF):
            return decimals(values)
        if self._dtype == types_pb2.DT_DOUBLE:
            return decimals(values, double=True)
        raise invalid(f"Failed to write JSON value for tensor type: {type_name(self._dtype)}")


def _flat(proto: TensorProto) -> Sequence[Any]:
    """The values of a tensor of any rank in order, to be read by slices."""
    count = math.prod(dim.size for dim in proto.tensor_shape.dim)
    field = _VALUE_FIELDS.get(proto.dtype)
    if field is not None and len(getattr(proto, field)) == count:
        return getattr(proto, field)
    flat = TensorProto()
    flat.CopyFrom(proto)
    # An array of numpy has at most 64 dimensions.
    del flat.tensor_shape.dim[:]
    flat.tensor_shape.dim.add(size=count)
    return tf.make_ndarray(flat).tolist()


def rows_text(outputs: Mapping[str, TensorProto]) -> bytes:
    """The answer to `instances`: an object for each row, or a value if there is one output.

    Args:
        outputs: the outputs by name.

    Raises:
        RequestError: outputs without rows, of different numbers of rows, or of odd types.
    """
    columns = {name: _Column(name, outputs[name]) for name in sorted(outputs)}
    count: int | None = None
    for name, column in columns.items():
        if not column.shape:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if count is not None and column.shape[0] != count:
            raise invalid(
                f"Tensor name: {name} has inconsistent batch size: {column.shape[0]} expecting: "
                f"{count}"
            )
        count = column.shape[0]
    writer = JsonWriter()
    writer.start_object()
    writer.write_text(b"predictions")
    writer.start_list()
    for _ in range(count or 0):
        if len(columns) > 1:
            writer.start_object()
        writer.single_line = True
        for name, column in columns.items():
            if len(columns) > 1:
                writer.write_text(name.encode())
            column.write(writer, level=1)
        writer.single_line = False
        if len(columns) > 1:
            writer.end_object()
    writer.end_list()
    writer.end_object()
    return writer.text()


def columns_text(outputs: Mapping[str, TensorProto]) -> bytes:
    """The answer to `inputs`: an object with a tensor for each output, or the only one.

    Args:
        outputs: the outputs by name.

    Raises:
        RequestError: an output of an odd type.
    """
    writer = JsonWriter()
    writer.start_object()
    writer.write_text(b"outputs")
    if len(outputs) > 1:
        writer.start_object()
    for name in sorted(outputs):
        if len(outputs) > 1:
            writer.write_text(name.encode())
        _Column(name, outputs[name]).write(writer, level=0)
    if len(outputs) > 1:
        writer.end_object()
    writer.end_object()
    return writer.text()


def classification_text(result: ClassificationResult) -> bytes:
    """The answer of a classifier: for each example its classes as pairs of label and score."""
    if not result.classifications:
        raise invalid("Cannot convert empty ClassificationResults to JSON")
    writer = _start_results()
    for classifications in result.classifications:
        writer.single_line = True
        writer.start_list()
        for entry in classifications.classes:
            writer.start_list()
            writer.write_text(entry.label.encode())
            writer.write(decimals([entry.score])[0])
            writer.end_list()
        writer.end_list()
        writer.single_line = False
    return _end_results(writer)


def regression_text(result: RegressionResult) -> bytes:
    """The answer of a regressor: a number for each example."""
    if not result.regressions:
        raise invalid("Cannot convert empty RegressionResults to JSON")
    writer = _start_results()
    writer.single_line = True
    writer.write_entries(decimals([entry.value for entry in result.regressions]))
    return _end_results(writer)


def _start_results() -> JsonWriter:
    writer = JsonWriter()
    writer.start_object()
    writer.write_text(b"results")
    writer.start_list()
    return writer


def _end_results(writer: JsonWriter) -> bytes:
    writer.end_list()
    writer.end_object()
    return writer.text()


def error_text(details: str) -> bytes:
    """The answer to a request that is refused or fails.

    Args:
        details: the text; bytes of the request that are no UTF-8 stand in it as surrogates.
    """
    writer = JsonWriter()
    writer.start_object()
    writer.write_text(b"error")
    writer.write_text(details.encode("utf-8", "surrogateescape"))
    writer.end_object()
    return writer.text()


def status_text(statuses: GetModelStatusResponse) -> bytes:
    """The states of a model's versions."""
    answer = _to_dict(statuses)
    # People know the names of status codes, not their numbers.
    for entry, status in zip(
        answer["model_version_status"], statuses.model_version_status, strict=True
    ):
        entry["status"] = {
            "error_code": _code_name(status.status.error_code),
            "error_message": status.status.error_message,
        }
    return _message_text(answer)


def metadata_text(spec: ModelSpec, version: int, signatures: SignatureDefMap) -> bytes:
    """The signatures of a version.

    Args:
        spec: which model was asked for.
        version: number of the version that answers.
        signatures: its signatures by name.
    """
    model = {"name": spec.name, "signature_name": "", "version": str(version)}
    return (
        b'{\n"model_spec":'
        + _message_text(model)
        + b',\n"metadata": {"signature_def": '
        + _message_text(_to_dict(signatures))
        + b"}\n}\n"
    )


def _code_name(code: int) -> str:
    return next(name.name for name in grpc.StatusCode if name.value[0] == code)


def _to_dict(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _message_text(tree: dict[str, Any]) -> bytes:
    """Protobuf's own layout of a message, which differs from that of the other answers."""
    return json.dumps(tree, indent=1, ensure_ascii=False).encode() + b"\n"
