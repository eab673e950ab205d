"""Classify, Regress and MultiInference: `tf.Example` rows in, classes, scores or values out.

Checks and texts are those of servables/tensorflow/{classifier,regressor,multi_inference,util}.cc.
"""

from collections.abc import Mapping, Sequence

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis.classification_pb2 import (
    ClassificationRequest,
    ClassificationResponse,
    ClassificationResult,
)
from tensorflow_serving.apis.inference_pb2 import (
    InferenceTask,
    MultiInferenceRequest,
    MultiInferenceResponse,
)
from tensorflow_serving.apis.input_pb2 import Input
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.apis.regression_pb2 import (
    RegressionRequest,
    RegressionResponse,
    RegressionResult,
)

from imgcap.signature import SERVING_DEFAULT
from serving.server.models.calls import (
    Api,
    Call,
    Model,
    ShapeCheck,
    any_shapes,
    check_rows,
    check_types,
    model_spec_of,
    write_model_spec,
)
from serving.server.models.messages import Tensor, check_copies, type_name
from serving.server.request_error import RequestError, invalid

INPUTS = "inputs"
"""Alias of the input that takes examples."""

OUTPUTS = "outputs"
"""Alias of a regression's values."""

CLASSES, SCORES = "classes", "scores"

CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"

FREE_CONTEXT_BYTES = 2**24
"""Size of all copies of a context, one for each example, that any request may have."""


def parse_classify(
    model: Model, request: ClassificationRequest, check_shapes: ShapeCheck = any_shapes
) -> Call:
    """Checks a request for classes and makes its tensor.

    Args:
        model: the version that it is for.
        request: the request.
        check_shapes: what else the shapes of the inputs must fulfil.

    Raises:
        RequestError: the signature does not classify, or there are no examples.
    """
    name = _signature_name(request.model_spec)
    return _make_call(
        model, name, _check_classifier(_find(model, name)), request.input, check_shapes
    )


def parse_regress(
    model: Model, request: RegressionRequest, check_shapes: ShapeCheck = any_shapes
) -> Call:
    """Checks a request for values and makes its tensor.

    Args:
        model: the version that it is for.
        request: the request.
        check_shapes: what else the shapes of the inputs must fulfil.

    Raises:
        RequestError: the signature is no regression, or there are no examples.
    """
    name = _signature_name(request.model_spec)
    return _make_call(
        model, name, _check_regressor(_find(model, name)), request.input, check_shapes
    )


def parse_multi_inference(
    model: Model, request: MultiInferenceRequest, check_shapes: ShapeCheck = any_shapes
) -> list[Call]:
    """Checks a request for several tasks on the same examples and makes their tensors.

    Args:
        model: the version that it is for.
        request: the request.
        check_shapes: what else the shapes of the inputs must fulfil.

    Raises:
        RequestError: a task that cannot be done, or tasks that do not go together.
    """
    names: list[str] = []
    aliases: list[list[str]] = []
    for task in request.tasks:
        name = _check_task(model, request.tasks[0].model_spec, task, names)
        names.append(name)
        check = {CLASSIFY_METHOD: _check_classifier, REGRESS_METHOD: _check_regressor}
        if task.method_name not in check:
            raise RequestError(
                grpc.StatusCode.UNIMPLEMENTED,
                f"Unsupported signature method_name: {task.method_name}",
            )
        aliases.append(check[task.method_name](model.signature_defs[name]))
        tensors = {model.signature_defs[each].inputs[INPUTS].name for each in names}
        if len(tensors) > 1:
            raise invalid("Input tensor must be the same for all Signatures.")
    return [
        _make_call(model, name, wanted, request.input, check_shapes)
        for name, wanted in zip(names, aliases, strict=True)
    ]


def answer_classify(
    model: Model,
    request: ClassificationRequest,
    calls: Sequence[Call],
    outputs: Sequence[Mapping[str, Tensor]],
) -> ClassificationResponse:
    """Makes the response to a request for classes that ran.

    Args:
        model: the version that ran.
        request: the request.
        calls: its one call.
        outputs: the tensors that came out of it.

    Raises:
        RequestError: the outputs are no classes and scores of the examples.
    """
    response = ClassificationResponse(result=_read_classes(calls[0], outputs[0]))
    write_model_spec(response.model_spec, model, request.model_spec)
    return response


def answer_regress(
    model: Model,
    request: RegressionRequest,
    calls: Sequence[Call],
    outputs: Sequence[Mapping[str, Tensor]],
) -> RegressionResponse:
    """Makes the response to a request for values that ran.

    Args:
        model: the version that ran.
        request: the request.
        calls: its one call.
        outputs: the tensors that came out of it.

    Raises:
        RequestError: the output is not a value for each example.
    """
    response = RegressionResponse(result=_read_values(calls[0], outputs[0]))
    write_model_spec(response.model_spec, model, request.model_spec)
    return response


def answer_multi_inference(
    model: Model,
    request: MultiInferenceRequest,
    calls: Sequence[Call],
    outputs: Sequence[Mapping[str, Tensor]],
) -> MultiInferenceResponse:
    """Makes the response to several tasks that ran.

    Args:
        model: the version that ran.
        request: the request.
        calls: one for each task.
        outputs: the tensors that came out of each.

    Raises:
        RequestError: the outputs are not what their task gives.
    """
    response = MultiInferenceResponse()
    for task, call, found in zip(request.tasks, calls, outputs, strict=True):
        result = response.results.add()
        if task.method_name == CLASSIFY_METHOD:
            result.classification_result.CopyFrom(_read_classes(call, found))
        else:
            result.regression_result.CopyFrom(_read_values(call, found))
        write_model_spec(result.model_spec, model, task.model_spec)
    return response


def _first_model_spec(request: MultiInferenceRequest) -> ModelSpec:
    return request.tasks[0].model_spec if request.tasks else ModelSpec()


CLASSIFY = Api(
    "Classify",
    model_spec_of,
    lambda model, request, check_shapes: [parse_classify(model, request, check_shapes)],
    answer_classify,
)
REGRESS = Api(
    "Regress",
    model_spec_of,
    lambda model, request, check_shapes: [parse_regress(model, request, check_shapes)],
    answer_regress,
)
MULTI_INFERENCE = Api(
    "MultiInference", _first_model_spec, parse_multi_inference, answer_multi_inference
)


def _signature_name(spec: ModelSpec) -> str:
    return spec.signature_name or SERVING_DEFAULT


def _find(model: Model, name: str) -> SignatureDef:
    if name not in model.signature_defs:
        raise invalid(f"No signature was found with the name: {name}")
    return model.signature_defs[name]


def _check_task(model: Model, first: ModelSpec, task: InferenceTask, before: list[str]) -> str:
    """Checks which model and signature a task names, and returns the signature's name."""
    if not task.model_spec.name:
        raise invalid("Found ModelSpec with an empty model name.")
    if task.model_spec.name != first.name:
        raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
    name = _signature_name(task.model_spec)
    if name in before:
        raise invalid(f"Duplicate evaluation of signature: {name}")
    if name not in model.signature_defs:
        raise invalid(f"Requested signature not found in model graph: {name}")
    return name


def _check_classifier(signature: SignatureDef) -> list[str]:
    """The aliases of a classifier's outputs; raises if the signature is none."""
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise invalid(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if INPUTS not in signature.inputs:
        raise _lacks(f"No classification inputs found in SignatureDef: {signature}")
    aliases = [alias for alias in (CLASSES, SCORES) if alias in signature.outputs]
    if not aliases:
        raise _lacks(
            "Expected classification signature outputs to contain at least one of "
            f'"{CLASSES}" or "{SCORES}". Signature was: {signature}'
        )
    return aliases


def _check_regressor(signature: SignatureDef) -> list[str]:
    """The alias of a regression's output; raises if the signature is none."""
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    if INPUTS not in signature.inputs:
        raise _lacks(f"No regression inputs found in SignatureDef: {signature}")
    if OUTPUTS not in signature.outputs:
        raise _lacks(f"No regression outputs found in SignatureDef: {signature}")
    return [OUTPUTS]


def _lacks(text: str) -> RequestError:
    return RequestError(grpc.StatusCode.FAILED_PRECONDITION, text)


def _make_call(
    model: Model, name: str, aliases: list[str], given: Input, check_shapes: ShapeCheck
) -> Call:
    examples = _read_examples(given)
    check_types(model.signature_defs[name], {INPUTS: types_pb2.DT_STRING})
    check_shapes({INPUTS: examples.shape})
    check_rows(model, {INPUTS: examples.shape})
    return Call(name, {INPUTS: examples}, aliases)


def _read_examples(given: Input) -> np.ndarray:
    """Serializes examples, with what they have in common before each: `bytes` objects [B]."""
    kind = given.WhichOneof("kind")
    examples = getattr(given, kind).examples if kind else []
    if not examples:
        raise invalid("Input is empty.")
    common = b""
    if kind == "example_list_with_context":
        common = given.example_list_with_context.context.SerializeToString()
        what = f"{len(examples)} examples share a context of {len(common)} bytes"
        check_copies(what, len(examples) * len(common), given, FREE_CONTEXT_BYTES)
    rows = np.empty(len(examples), object)
    rows[:] = [common + example.SerializeToString() for example in examples]
    return rows


def _read_classes(call: Call, outputs: Mapping[str, Tensor]) -> ClassificationResult:
    examples = len(call.inputs[INPUTS])
    tensors = {alias: outputs[alias] for alias in call.aliases}
    kinds = {CLASSES: types_pb2.DT_STRING, SCORES: types_pb2.DT_FLOAT}
    for alias, tensor in tensors.items():
        if tensor.ndim != 2:
            raise invalid(
                f"Expected Tensor shape: [batch_size num_classes] but got {_shape_text(tensor)}"
            )
        _check_kind(f"Expected {alias} Tensor", tensor, kinds[alias], "")
        if len(tensor) != examples:
            raise invalid(f"Expected {alias} output batch size of {examples}. Got: {len(tensor)}")
    if len({tensor.shape[1] for tensor in tensors.values()}) > 1:
        raise invalid(
            "Tensors class and score should match in dim_size(1). Got "
            f"{tensors[CLASSES].shape[1]} vs. {tensors[SCORES].shape[1]}"
        )
    result = ClassificationResult()
    for row in range(examples):
        classes = result.classifications.add().classes
        for column in range(tensors[call.aliases[0]].shape[1]):
            found = classes.add()
            if CLASSES in tensors:
                found.label = tensors[CLASSES][row, column].decode("utf-8", "replace")
            if SCORES in tensors:
                found.score = tensors[SCORES][row, column]
    return result


def _read_values(call: Call, outputs: Mapping[str, Tensor]) -> RegressionResult:
    examples, values = len(call.inputs[INPUTS]), outputs[OUTPUTS]
    if values.ndim != 1 and not (values.ndim == 2 and values.shape[1] == 1):
        raise invalid(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{_shape_text(values)}"
        )
    if len(values) != examples:
        raise invalid(
            f"Input batch size did not match output batch size: {examples} vs. {len(values)}"
        )
    _check_kind("Expected output Tensor", values, types_pb2.DT_FLOAT, " ")
    result = RegressionResult()
    for value in values.ravel().tolist():
        result.regressions.add().value = value
    return result


def _check_kind(what: str, tensor: np.ndarray, expected: int, space: str) -> None:
    """Refuses an output of a wrong type."""
    given = tf.as_dtype(tensor.dtype).as_datatype_enum
    if given != expected:
        names = [f"DT_{type_name(each).upper()}" for each in (expected, given)]
        raise invalid(f"{what} of {names[0]}. {space}Got: {names[1]}")


def _shape_text(tensor: Tensor) -> str:
    return "[" + ",".join(str(size) for size in tensor.shape) + "]"
