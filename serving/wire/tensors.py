"""TensorFlow Serving's gRPC API without TensorFlow: tensors to and from messages, and the calls.

The official API package imports TensorFlow (seconds, hundreds of MB) to send a few dozen bytes. The
messages here come from wire.proto instead. They are generated and checked in, not built at import,
so that the field numbers are in a file that reads like the official ones and editors know the
classes:

    pip install grpcio-tools==1.75.1
    python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. serving/wire/wire.proto

That release writes code for protobuf 6.31.1, as the official stubs are. protobuf refuses code that
is newer than itself, so this is the newest that works wherever TensorFlow 2.21 does (protobuf >=
6.31.1, < 8). The calls are spelt out below because a generated service stub would add a check on
grpcio's version for nothing but these paths.
"""

import math
from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import DecodeError, Message

from serving.wire import wire_pb2

METADATA_FIELD = "signature_def"
"""The one field of a model's metadata that a server knows: its signatures."""

INIT_SIGNATURE = "__saved_model_init_op"
"""An entry that every SavedModel has beside its signatures; not for callers."""

MAX_RANK = 32
"""Dimensions of a tensor that is read; a captioner's have 4 at most."""

MAX_ELEMENTS = 2**31 - 1
"""Values of a tensor that is read: a message has fewer bytes."""

MAX_FILLED = 2**16
"""Values of a tensor that may be missing, which the last one stands for."""

# Path, request and response of each call.
_CALLS: dict[str, tuple[str, type[Message], type[Message]]] = {
    "predict": (
        "/tensorflow.serving.PredictionService/Predict",
        wire_pb2.PredictRequest,
        wire_pb2.PredictResponse,
    ),
    "metadata": (
        "/tensorflow.serving.PredictionService/GetModelMetadata",
        wire_pb2.GetModelMetadataRequest,
        wire_pb2.GetModelMetadataResponse,
    ),
    "status": (
        "/tensorflow.serving.ModelService/GetModelStatus",
        wire_pb2.GetModelStatusRequest,
        wire_pb2.GetModelStatusResponse,
    ),
    "health": (
        "/grpc.health.v1.Health/Check",
        wire_pb2.HealthCheckRequest,
        wire_pb2.HealthCheckResponse,
    ),
}

# The field of a TensorProto that carries a type, and the type in `tensor_content`.
_NUMERIC: dict[int, tuple[str, np.dtype]] = {
    wire_pb2.DT_FLOAT: ("float_val", np.dtype("<f4")),
    wire_pb2.DT_INT32: ("int_val", np.dtype("<i4")),
    wire_pb2.DT_INT64: ("int64_val", np.dtype("<i8")),
}


class Stub:
    """The four calls on one channel, each a gRPC multi-callable of (request, timeout=seconds).

    Attributes:
        predict: runs a signature on inputs.
        metadata: asks for a model's signatures.
        status: asks for the states of a model's versions.
        health: asks whether the server serves.
    """

    def __init__(self, channel: Any) -> None:
        """Makes the calls; none is sent.

        Args:
            channel: a `grpc.Channel`, or a `grpc.aio.Channel`, whose calls are awaitable.
        """
        self.predict = _call(channel, "predict")
        self.metadata = _call(channel, "metadata")
        self.status = _call(channel, "status")
        self.health = _call(channel, "health")


def _call(channel: Any, name: str) -> grpc.UnaryUnaryMultiCallable:
    path, request, response = _CALLS[name]
    return channel.unary_unary(
        path,
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )


def string_tensor(values: Sequence[bytes]) -> wire_pb2.TensorProto:
    """Makes a string tensor of shape [B].

    Args:
        values: B byte strings.
    """
    shape = wire_pb2.TensorShapeProto(dim=[wire_pb2.TensorShapeProto.Dim(size=len(values))])
    return wire_pb2.TensorProto(dtype=wire_pb2.DT_STRING, tensor_shape=shape, string_val=values)


def to_array(tensor: wire_pb2.TensorProto) -> np.ndarray:
    """Reads the values of a tensor.

    A server may answer in `tensor_content` (raw little-endian bytes) or in the typed field, and the
    last value of a typed field stands for all that are missing after it
    (tensorflow/core/framework/tensor.proto). What a message says of itself is checked before any
    array is made, since a few bytes can declare any size.

    Returns:
        An array of the tensor's shape: float32, int32, int64, or `bytes` objects for strings.

    Raises:
        ValueError: the type is none of these, or the values don't fill the shape.
    """
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    elements = _count(shape)
    if tensor.dtype == wire_pb2.DT_STRING:
        values = np.array([*tensor.string_val, None], dtype=object)[:-1]
    elif tensor.dtype not in _NUMERIC:
        raise ValueError(f"tensor of type number {tensor.dtype}, which no captioner answers")
    else:
        field, dtype = _NUMERIC[tensor.dtype]
        if tensor.tensor_content:
            if len(tensor.tensor_content) != elements * dtype.itemsize:
                raise ValueError(
                    f"tensor of {elements} values in {len(tensor.tensor_content)} bytes"
                )
            return np.frombuffer(tensor.tensor_content, dtype).reshape(shape)
        values = np.array(getattr(tensor, field), dtype=dtype)
    return _fill(values, elements).reshape(shape)


def _count(shape: tuple[int, ...]) -> int:
    """How many values a shape has; raises ValueError if no answer can be of that shape."""
    if len(shape) > MAX_RANK:
        raise ValueError(f"tensor of {len(shape)} dimensions, more than {MAX_RANK}")
    if any(size < 0 for size in shape):
        raise ValueError(f"tensor of the shape {list(shape)}")
    # NumPy cannot hold an empty array of dimensions that overflow without the 0.
    if math.prod(size for size in shape if size) > MAX_ELEMENTS:
        raise ValueError(f"tensor of the shape {list(shape)}, more than {MAX_ELEMENTS} values")
    return math.prod(shape)


def _fill(values: np.ndarray, elements: int) -> np.ndarray:
    """Repeats the last value up to so many elements; raises ValueError if they don't fit."""
    missing = elements - len(values)
    if missing < 0 or (missing > 0 and not len(values)) or missing > MAX_FILLED:
        raise ValueError(f"tensor of {elements} values that holds {len(values)}")
    if missing:
        values = np.concatenate([values, np.repeat(values[-1:], missing)])
    return values


def model_spec(
    name: str, version: int | None, label: str | None, signature: str = ""
) -> wire_pb2.ModelSpec:
    """Names the model that a request is for; with neither version nor label, its newest version.

    Args:
        name: name of the model.
        version: its version number, or None.
        label: a label that the server gives to a version, or None.
        signature: which function of the model; empty is the default one.
    """
    spec = wire_pb2.ModelSpec(name=name, signature_name=signature)
    if version is not None:
        spec.version.value = version
    elif label is not None:
        spec.version_label = label
    return spec


def signature_names(response: wire_pb2.GetModelMetadataResponse) -> tuple[str, ...]:
    """Reads the names of a model's signatures, sorted, from a metadata answer.

    The answer wraps a message of the official package, so `Any.Unpack` would refuse the type's
    name; its bytes are read directly.

    Raises:
        ValueError: they are no list of signatures.
    """
    try:
        signatures = wire_pb2.SignatureDefMap.FromString(response.metadata[METADATA_FIELD].value)
    except DecodeError:
        raise ValueError("metadata that is no list of signatures") from None
    return tuple(sorted(set(signatures.signature_def) - {INIT_SIGNATURE}))
