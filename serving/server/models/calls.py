"""What every kind of request comes to: calls of a signature, checked before they run.

Codes and texts are those of tensorflow_model_server 2.20.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.resource_handle_pb2 import ResourceHandleProto
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis.model_pb2 import ModelSpec

from imgcap.signature import SERVING_DEFAULT, too_many_rows
from serving.server.models.messages import Tensor, type_name
from serving.server.request_error import invalid

ShapeCheck: TypeAlias = Callable[[Mapping[str, Sequence[int]]], object]
"""Looks at the shapes of a call's inputs before these are made; raises `RequestError`."""


class Model(Protocol):
    """A version of a model, as far as requests are checked against it.

    Attributes:
        version: number of the version.
        signature_defs: the signatures by name.
        max_rows: rows that a request may have; None if the model does not say.
    """

    version: int
    signature_defs: dict[str, SignatureDef]
    max_rows: int | None


class Call(NamedTuple):
    """A signature to run, with inputs that have passed the checks.

    Attributes:
        signature_name: name of the signature to run.
        inputs: an array for each of its inputs, defaults included.
        aliases: names of the outputs that the caller asks for.
    """

    signature_name: str
    inputs: dict[str, Tensor]
    aliases: list[str]

    @property
    def runs_alone(self) -> bool:
        """Whether an input has more dimensions than an array can, so rows can't be merged."""
        return not all(isinstance(value, np.ndarray) for value in self.inputs.values())


class Api(NamedTuple):
    """One of the methods that run a model.

    Attributes:
        name: name of the method.
        model_spec: request → which model it is for.
        parse: model, request, what else shapes must fulfil → the calls to run; raises
            `RequestError`.
        answer: model, request, calls, outputs of each call by alias → response; raises as well.
    """

    name: str
    model_spec: Callable[[Any], ModelSpec]
    parse: Callable[[Model, Any, ShapeCheck], list[Call]]
    answer: Callable[[Model, Any, Sequence[Call], Sequence[Mapping[str, Tensor]]], Any]


def model_spec_of(request: Any) -> ModelSpec:
    """Reads which model a request is for.

    Args:
        request: a message with the field `model_spec`.

    Raises:
        RequestError: it does not say.
    """
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    return request.model_spec


def write_model_spec(spec: ModelSpec, model: Model, asked: ModelSpec) -> None:
    """Says in a response which model has answered.

    Args:
        spec: the response's field.
        model: the version that ran.
        asked: the request's field.
    """
    spec.name = asked.name
    spec.version.value = model.version
    spec.signature_name = asked.signature_name or SERVING_DEFAULT


def check_types(signature: SignatureDef, inputs: Mapping[str, int]) -> None:
    """Refuses inputs of a wrong type before the run: in a batch they would fail the others too.

    Args:
        signature: the signature to run.
        inputs: the type of each of its inputs, a value of the enum `DataType`.

    Raises:
        RequestError: one differs.
    """
    for index, alias in enumerate(sorted(inputs)):
        expected = signature.inputs[alias].dtype
        if inputs[alias] != expected:
            raise invalid(
                f"Expects arg[{index}] to be {type_name(expected)} but {type_name(inputs[alias])} "
                "is provided"
            )


def refuse_resource(proto: TensorProto) -> None:
    """Refuses a handle of something that lives in the server; it would be looked up by its name.

    Raises:
        RequestError: the tensor holds such handles.
    """
    if proto.dtype != types_pb2.DT_RESOURCE:
        return
    handle = next(iter(proto.resource_handle_val), ResourceHandleProto())
    raise invalid(
        f"Invalid resource type hash code: {handle.hash_code}(name: {handle.name} type: "
        f"{handle.maybe_type_name}). Perhaps a resource tensor was being provided as a feed? That "
        "is not currently allowed. Please file an issue at "
        "https://github.com/tensorflow/tensorflow/issues/new, ideally with a short code snippet "
        "that leads to this error message."
    )


def any_shapes(shapes: Mapping[str, Sequence[int]]) -> None:
    """The `ShapeCheck` that takes all."""


def check_rows(model: Model, shapes: Mapping[str, Sequence[int]]) -> None:
    """Refuses more rows than an export takes, in its graph's words, before tensors are made.

    Args:
        model: the version to run.
        shapes: of each input.

    Raises:
        RequestError: an input has too many.
    """
    for alias, shape in sorted(shapes.items()):
        count = shape[0] if shape else 0
        if model.max_rows is not None and count > model.max_rows:
            text = too_many_rows(alias, count, model.max_rows)
            raise invalid(f"assertion failed: [{text}]")


def in_braces(names: Iterable[str]) -> str:
    """Lists names as the server's texts do."""
    return "{" + ",".join(sorted(names)) + "}"
