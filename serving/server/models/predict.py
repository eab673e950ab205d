"""Predict: named tensors in, named tensors out.

The order of the checks is that of servables/tensorflow/predict_util.cc: signature, number of
inputs, their names and contents, output filter, run.
"""

from collections.abc import Iterable, Mapping, Sequence

import grpc
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse

from imgcap.signature import SERVING_DEFAULT
from serving.server.models.calls import (
    Api,
    Call,
    Model,
    ShapeCheck,
    any_shapes,
    check_rows,
    check_types,
    in_braces,
    model_spec_of,
    refuse_resource,
    write_model_spec,
)
from serving.server.models.messages import (
    Tensor,
    check_readable,
    check_size,
    to_tensor,
    to_tensor_proto,
)
from serving.server.request_error import RequestError, invalid


def parse_predict(
    model: Model, request: PredictRequest, check_shapes: ShapeCheck = any_shapes
) -> Call:
    """Checks a request as far as it can be checked without running it, and makes its tensors.

    Args:
        model: the version that it is for.
        request: the request.
        check_shapes: what else the shapes of the inputs must fulfil.

    Raises:
        RequestError: an unknown signature, wrong inputs or an impossible output filter.
    """
    name = request.model_spec.signature_name or SERVING_DEFAULT
    if name not in model.signature_defs:
        raise RequestError(
            grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.'
        )
    signature = model.signature_defs[name]
    protos = _find_inputs(signature, request)
    aliases = _filter_outputs(signature, request.output_filter)
    for proto in protos.values():
        refuse_resource(proto)
    check_types(signature, {alias: proto.dtype for alias, proto in protos.items()})
    shapes = {
        alias: [dim.size for dim in proto.tensor_shape.dim] for alias, proto in protos.items()
    }
    check_shapes(shapes)
    check_rows(model, shapes)
    for alias, proto in protos.items():
        check_size(alias, proto)
    return Call(name, {alias: to_tensor(alias, proto) for alias, proto in protos.items()}, aliases)


def answer_predict(
    model: Model,
    request: PredictRequest,
    calls: Sequence[Call],
    outputs: Sequence[Mapping[str, Tensor]],
) -> PredictResponse:
    """Makes the response to a request that ran.

    Args:
        model: the version that ran.
        request: the request.
        calls: its one call.
        outputs: the tensors that came out of it, cut to the rows of this call.
    """
    response = PredictResponse()
    write_model_spec(response.model_spec, model, request.model_spec)
    for alias in calls[0].aliases:
        response.outputs[alias].CopyFrom(to_tensor_proto(outputs[0][alias]))
    return response


PREDICT = Api(
    "Predict",
    model_spec_of,
    lambda model, request, check_shapes: [parse_predict(model, request, check_shapes)],
    answer_predict,
)


def _find_inputs(signature: SignatureDef, request: PredictRequest) -> dict[str, TensorProto]:
    """The message of each input, checked: that of the request or else the signature's default."""
    sent, due = set(request.inputs), set(signature.inputs)
    defaults = signature.defaults
    if len(sent) > len(due) or (len(sent) < len(due) and not defaults):
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(due)} len({in_braces(sent)}) "
            f"!= len({in_braces(due)}). Sent extra: {in_braces(sent - due)}. Missing but required: "
            f"{in_braces(due - sent)}."
        )
    protos = {}
    for alias in sorted(due):
        source = request.inputs if alias in sent else defaults
        if alias not in source:
            raise invalid(
                f"Signature input alias: {alias}(feed name: {signature.inputs[alias].name}) not "
                "found in request and no default value provided. Inputs expected to be in the "
                f"request {in_braces(sent)}, or default input alias set: "
                f"{','.join(sorted(defaults))}"
            )
        protos[alias] = source[alias]
        check_readable(alias, protos[alias])
    return protos


def _filter_outputs(signature: SignatureDef, output_filter: Iterable[str]) -> list[str]:
    aliases: list[str] = []
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in "
                f"the set {in_braces(signature.outputs)}."
            )
        if alias in aliases:
            raise invalid(f"duplicate output tensor alias: {alias}")
        aliases.append(alias)
    return aliases or sorted(signature.outputs)
