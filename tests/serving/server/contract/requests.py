"""Requests and what comes back, in the short forms that tables of questions are written in."""

import math
from typing import Any

import grpc
import tensorflow as tf
from tensorflow.core.example.example_pb2 import Example
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse

from tests.serving.server.contract.parcel_model import NAME

FLOAT, DOUBLE, INT32, UINT8, INT16, INT8, STRING = range(1, 8)
COMPLEX64, INT64, BOOL = 8, 9, 10
BFLOAT16, UINT16, HALF, RESOURCE, VARIANT, UINT32, UINT64 = 14, 17, 19, 20, 21, 22, 23

Answer = dict[str, Any] | tuple[str, str]
"""Outputs as {alias: (type, shape, values)}, or a status as (code, details)."""


def spec(name: str = NAME, **fields: Any) -> ModelSpec:
    """Names a model; a version is given by number."""
    version = fields.pop("version", None)
    message = ModelSpec(name=name, **fields)
    if version is not None:
        message.version.value = version
    return message


def tensor(dtype: int, *shape: int, unknown_rank: bool = False, **fields: Any) -> TensorProto:
    """A tensor's message with these fields, whether they fit the shape or not."""
    proto = TensorProto(dtype=dtype, **fields)
    proto.tensor_shape.unknown_rank = unknown_rank
    for size in shape:
        proto.tensor_shape.dim.add().size = size
    return proto


def parcels(*rows: bytes) -> TensorProto:
    """A vector of byte strings."""
    return tensor(STRING, len(rows), string_val=rows)


def predict(
    signature: str = "",
    outputs: tuple[str, ...] = (),
    model_spec: ModelSpec | None = None,
    **inputs: TensorProto,
) -> PredictRequest:
    """A request for this signature of the small model, or for the model that is given."""
    return PredictRequest(
        model_spec=model_spec or spec(signature_name=signature),
        inputs=inputs,
        output_filter=outputs,
    )


def example(n: float) -> Example:
    """A row for the signatures that take examples."""
    row = Example()
    row.features.feature["n"].float_list.value.append(n)
    return row


def weighed(*rows: bytes, shape: tuple[int, ...] | None = None, version: int = 2) -> Answer:
    """What the default signature answers to these rows, in a tensor of this shape."""
    shape = (len(rows),) if shape is None else shape
    sizes = [len(row) for row in rows]
    pairs = [float(size) for size in sizes] + [float(version)] * len(rows)
    if shape and math.prod(shape) == shape[0]:  # with one column, sizes and versions alternate
        pairs = [number for size in sizes for number in (float(size), float(version))]
    return {
        "label": (STRING, shape, [b"weighs %d" % size for size in sizes]),
        "size": (INT32, shape, sizes),
        "tail_bytes": (STRING, shape, [row[-2:] for row in rows]),
        "pair": (FLOAT, (shape[0], 2, *shape[1:]), pairs),
    }


def read(response: PredictResponse) -> Answer:
    """Puts the outputs of a response into the form of tables."""
    return {alias: read_tensor(proto) for alias, proto in response.outputs.items()}


def read_tensor(proto: TensorProto) -> tuple[int, tuple[int, ...], list]:
    """Reads type, shape and values; flat, since NumPy has no arrays of so many dimensions."""
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    flat = TensorProto()
    flat.CopyFrom(proto)
    flat.tensor_shape.Clear()
    flat.tensor_shape.dim.add().size = math.prod(shape)
    return proto.dtype, shape, tf.make_ndarray(flat).tolist()


def refusal(error: grpc.RpcError) -> tuple[str, str]:
    """Reads a status, without the names that TensorFlow gives to its nodes."""
    return error.code().name, (error.details() or "").partition("\n\t [[")[0]
