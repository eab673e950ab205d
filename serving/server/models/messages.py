"""Tensors of requests and answers: checked as messages first, then made, and written back.

A message of a few bytes can declare any shape, and NumPy's and TensorFlow's constructors end the
process on some of them. So all that a message says of itself is checked by plain arithmetic, before
an array or a tensor exists. What passes is read by TensorFlow itself, as in the real server.
"""

import math
from typing import TypeAlias

import numpy as np
import tensorflow as tf
from google.protobuf.message import Message
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.framework.tensor_shape_pb2 import TensorShapeProto

from serving.server.request_error import RequestError, invalid

Tensor: TypeAlias = np.ndarray | tf.Tensor
"""An array; a tensor of TensorFlow if it has more than `ARRAY_RANK` dimensions."""

ARRAY_RANK = 32
"""Dimensions up to which a tensor becomes an array.

TensorFlow ends the process where it turns a tensor of 33 to 64 dimensions into an array or back.
"""

MAX_RANK = 200
"""Dimensions that a tensor may have.

TensorFlow reads 254, and ends the process in an operation that adds one more to them.
"""

MAX_FILLED_BYTES = 4096
"""Size of the values that a tensor may declare without sending them, whatever it sends.

The last value stands for all that are missing, so that is what a few bytes can make work.
"""

MAX_FILLED_FACTOR = 16
"""The same for large messages: so many times the bytes that were sent."""

MAX_EMPTY_ROWS = 256
"""Rows of nothing that a tensor may have: product of its dimensions before the first 0."""

MAX_EMPTY_SIZE = 2**20
"""Product that all other dimensions may have if one is 0.

Such a tensor holds nothing, but an operation may well make a tensor of the others out of it.
"""

_MAX_TENSORFLOW_RANK = 254
_MAX_ELEMENTS = 2**63 - 1
_MAX_INT32 = 2**31 - 1
_STRING_BYTES = 24  # of TensorFlow's string object, beside its characters

# Which field of a message carries a type, as the real server reads and answers them.
# `tf.make_tensor_proto` prefers `tensor_content`, and clients exist that read nothing else than
# these.
_VALUE_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_INT16: "int_val",
    types_pb2.DT_INT8: "int_val",
    types_pb2.DT_UINT16: "int_val",
    types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_HALF: "half_val",
    types_pb2.DT_BFLOAT16: "half_val",
    types_pb2.DT_COMPLEX64: "scomplex_val",
    types_pb2.DT_COMPLEX128: "dcomplex_val",
    types_pb2.DT_STRING: "string_val",
}
_COMPLEX = (types_pb2.DT_COMPLEX64, types_pb2.DT_COMPLEX128)
# Read, but of no use as an input: they hold references to what lives in the server.
_HANDLES = (types_pb2.DT_RESOURCE, types_pb2.DT_VARIANT)


def check_readable(alias: str, proto: TensorProto) -> None:
    """Refuses a message that TensorFlow cannot read, as the real server does.

    Args:
        alias: name of the input.
        proto: the message; nothing is made of it.

    Raises:
        RequestError: no such type or shape, or content of another size.
    """
    elements = _count_elements(proto.tensor_shape)
    if elements is None or not _is_readable(proto, elements):
        raise parsing_error(alias)


def check_size(alias: str, proto: TensorProto) -> None:
    """Refuses a readable message that would cost far more than its bytes, or the process.

    Args:
        alias: name of the input.
        proto: the message; nothing is made of it.

    Raises:
        RequestError: one that the real server would take.
    """
    if proto.dtype not in _VALUE_FIELDS:
        raise parsing_error(alias)  # a handle, even if the signature asks for one
    sizes = [dim.size for dim in proto.tensor_shape.dim]
    if len(sizes) > MAX_RANK:
        raise invalid(f"{alias} has {len(sizes)} dimensions; this server takes at most {MAX_RANK}")
    elements = math.prod(sizes)
    if elements == 0:
        _check_empty(alias, sizes)
    elif not proto.tensor_content:
        _check_filled(alias, proto, elements)


def to_tensor(alias: str, proto: TensorProto) -> Tensor:
    """Reads a tensor that has passed both checks, as TensorFlow does.

    Values beyond the shape are left away, the last one stands for those that are missing, and an
    integer that is too large for its type keeps its lowest bits.

    Args:
        alias: name of the input.
        proto: the message; no resource and no variant.

    Raises:
        RequestError: strings in `tensor_content` that are no strings.
    """
    shape = [dim.size for dim in proto.tensor_shape.dim]
    is_plain = proto.dtype == types_pb2.DT_STRING and not proto.tensor_content
    if is_plain and len(shape) <= ARRAY_RANK:
        return _to_strings(proto, shape)
    try:
        tensor = tf.io.parse_tensor(proto.SerializeToString(), tf.as_dtype(proto.dtype))
    except tf.errors.OpError:
        raise parsing_error(alias) from None
    return to_array(tensor)


def _to_strings(proto: TensorProto, shape: list[int]) -> np.ndarray:
    """Reads strings by a shorter way, since images come so: TensorFlow would copy them thrice."""
    elements = math.prod(shape)
    values = proto.string_val[:elements]
    array = np.empty(elements, object)
    array[: len(values)] = values
    array[len(values) :] = values[-1] if values else b""
    return array.reshape(shape)


def to_array(tensor: tf.Tensor) -> Tensor:
    """Makes an array of a tensor, unless it has too many dimensions for one.

    Args:
        tensor: any tensor.

    Returns:
        An array, strings as `bytes` objects, or the tensor itself.
    """
    if len(tensor.shape) > ARRAY_RANK:
        return tensor
    # A string without a dimension comes as `bytes`, which is no array.
    return np.asarray(tensor.numpy(), dtype=object if tensor.dtype == tf.string else None)


def to_tensor_proto(values: Tensor) -> TensorProto:
    """Writes a tensor into the typed field of its message, as the real server answers.

    Args:
        values: of any shape; strings as `bytes` objects.
    """
    shape = tf.TensorShape(values.shape).as_proto()
    if isinstance(values, tf.Tensor):
        values = to_array(tf.reshape(values, [-1]))
    dtype = tf.as_dtype(values.dtype).as_datatype_enum
    if dtype not in _VALUE_FIELDS:  # quantized: rare, and every reader of them is TensorFlow's
        proto = tf.make_tensor_proto(values.ravel())
        proto.tensor_shape.CopyFrom(shape)
        return proto
    field = {_VALUE_FIELDS[dtype]: _as_written(values.ravel(), dtype).tolist()}
    return TensorProto(dtype=dtype, tensor_shape=shape, **field)


def type_name(dtype: int) -> str:
    """A type as the server's texts call it.

    Args:
        dtype: a value of the enum `DataType`.
    """
    return types_pb2.DataType.Name(dtype).removeprefix("DT_").lower()


def check_copies(what: str, copied: int, message: Message, free: int = MAX_FILLED_BYTES) -> None:
    """Refuses a message out of which far more bytes are made than were sent.

    Args:
        what: what is copied, the beginning of the error's text.
        copied: size of all copies in bytes.
        message: all that was sent.
        free: what is allowed whatever was sent.

    Raises:
        RequestError: too many.
    """
    if copied <= free:  # without asking for the size, which costs as much as sending it
        return
    allowed = max(free, MAX_FILLED_FACTOR * message.ByteSize())
    if copied > allowed:
        raise invalid(f"{what}: that is {copied} bytes of copies, at most {allowed} are made")


def parsing_error(alias: str) -> RequestError:
    """Makes the error of a tensor that cannot be read.

    Args:
        alias: name of the input.
    """
    return invalid(f"tensor parsing error: {alias}")


def _count_elements(shape: TensorShapeProto) -> int | None:
    """How many values a shape has; None if TensorFlow would not take it (TensorShape::IsValid)."""
    if len(shape.dim) > _MAX_TENSORFLOW_RANK:
        return None
    elements = 1
    for dim in shape.dim:  # in this order: [0, 2**62, 2**62] is a shape, [2**62, 2**62, 0] is none
        elements *= dim.size
        if dim.size < 0 or elements > _MAX_ELEMENTS:
            return None
    return elements


def _is_readable(proto: TensorProto, elements: int) -> bool:
    """Whether the type exists and the content, if there is any, has the right size."""
    if proto.dtype in _HANDLES:
        return True
    if proto.dtype not in _VALUE_FIELDS:
        return False
    if not elements or not proto.tensor_content:
        return True
    if proto.dtype == types_pb2.DT_STRING:  # at least the length of each stands there
        return len(proto.tensor_content) >= elements
    return len(proto.tensor_content) == elements * tf.as_dtype(proto.dtype).size


def _check_empty(alias: str, sizes: list[int]) -> None:
    for axis, size in enumerate(sizes):
        if size > _MAX_INT32:  # the words of the first operation that asks for the shape
            raise invalid(f"Shape output type is 32-bit  but dim {axis} is {size}")
    rows, size = math.prod(sizes[: sizes.index(0)]), math.prod(size for size in sizes if size)
    if rows > MAX_EMPTY_ROWS or size > MAX_EMPTY_SIZE:
        raise invalid(
            f"{alias} declares the shape {sizes}, which holds no value: send rows that hold some"
        )


def _check_filled(alias: str, proto: TensorProto, elements: int) -> None:
    values = getattr(proto, _VALUE_FIELDS[proto.dtype])
    sent = len(values) // 2 if proto.dtype in _COMPLEX else len(values)
    if proto.dtype == types_pb2.DT_STRING:
        size = _STRING_BYTES + (len(values[-1]) if values else 0)
    else:
        size = tf.as_dtype(proto.dtype).size
    what = f"{alias} declares {elements} values and holds {sent}, the last one stands for the rest"
    check_copies(what, max(0, elements - sent) * size, proto)


def _as_written(values: np.ndarray, dtype: int) -> np.ndarray:
    """The numbers that stand in a message's field: halves as their bits, complex ones as pairs."""
    if dtype in (types_pb2.DT_HALF, types_pb2.DT_BFLOAT16):
        return values.view(np.uint16)
    if dtype in _COMPLEX:
        return values.view(values.real.dtype)
    return values
