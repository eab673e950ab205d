"""Questions over gRPC, each with the answer that TensorFlow Serving 2.20 gives."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from tests.serving.server.contract.parcel_model import KINDS
from tests.serving.server.contract.requests import (
    BFLOAT16,
    BOOL,
    COMPLEX64,
    DOUBLE,
    FLOAT,
    HALF,
    INT8,
    INT16,
    INT64,
    RESOURCE,
    STRING,
    UINT8,
    UINT16,
    UINT32,
    UINT64,
    VARIANT,
    example,
    parcels,
    predict,
    read,
    refusal,
    spec,
    tensor,
    weighed,
)

INVALID = "INVALID_ARGUMENT"
OUTPUTS = "{label,pair,size,tail_bytes}"
UNREADABLE = (INVALID, "tensor parsing error: parcel")
UNREADABLE_X = (INVALID, "tensor parsing error: x")
ONE = parcels(b"abc")


@pytest.fixture(scope="module")
def channel(parcels_server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(parcels_server.target) as channel:
        yield channel


@pytest.fixture(scope="module")
def prediction(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def ask(call: grpc.UnaryUnaryMultiCallable, request: Any) -> Any:
    """The response, or code and details of the error."""
    try:
        return call(request, timeout=20)
    except grpc.RpcError as error:
        return refusal(error)


def answer_to(prediction, request) -> Any:
    response = ask(prediction.Predict, request)
    return response if isinstance(response, tuple) else read(response)


def rank(size: int, **fields: Any) -> Any:
    """A request whose one byte string stands in a tensor of so many dimensions."""
    return predict(parcel=tensor(STRING, *[1] * size, string_val=[b"abc"], **fields))


def not_served(how: str) -> tuple[str, str]:
    return "NOT_FOUND", f"Servable not found for request: {how}"


MODELS = {
    "newest": (spec(), weighed(b"abc")),
    "version 1": (spec(version=1), weighed(b"abc", version=1)),
    "version 2": (spec(version=2), weighed(b"abc")),
    "version 7": (spec(version=7), not_served("Specific(parcel, 7)")),
    "version 0, set": (spec(version=0), not_served("Specific(parcel, 0)")),
    "version -3": (spec(version=-3), not_served("Specific(parcel, -3)")),
    "label": (spec(version_label="best"), (INVALID, "Unrecognized servable version label: best")),
    "empty label": (spec(version_label=""), (INVALID, "Unrecognized servable version label: ")),
    "another model": (spec("letter"), not_served("Latest(letter)")),
    "no name": (spec(""), (INVALID, "ModelSpec has no name specified.")),
    "a path for a name": (spec("../parcel"), not_served("Latest(../parcel)")),
    "unknown signature": (
        spec(signature_name="lose"),
        ("FAILED_PRECONDITION", 'Serving signature key "lose" not found.'),
    ),
    "signature that initialises": (
        spec(signature_name="__saved_model_init_op"),
        (
            INVALID,
            "input size does not match signature: 1!=0 len({parcel}) != len({}). Sent extra: "
            "{parcel}. Missing but required: {}.",
        ),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_model_that_is_asked_for(prediction, name):
    asked, answer = MODELS[name]
    assert answer_to(prediction, predict(model_spec=asked, parcel=ONE)) == answer


def test_response_names_what_has_answered(prediction):
    said = prediction.Predict(predict(parcel=ONE)).model_spec
    assert (said.name, said.version.value, said.signature_name) == (
        "parcel",
        2,
        "serving_default",
    )


WEIGHT = tensor(FLOAT, 2, float_val=[3.0, -1.0])
COUNT = tensor(INT64, 2, int64_val=[2, 0])
FOUR_FLOATS = tensor(FLOAT, 4, float_val=[1.0, 2.0, 4.0, -8.0])
INPUTS = {
    "one": (predict(parcel=ONE), weighed(b"abc")),
    "two, one empty": (predict(parcel=parcels(b"abc", b"")), weighed(b"abc", b"")),
    "none": (
        predict(),
        (
            INVALID,
            "input size does not match signature: 0!=1 len({}) != len({parcel}). Sent extra: {}. "
            "Missing but required: {parcel}.",
        ),
    ),
    "another name": (
        predict(letter=ONE),
        (
            INVALID,
            "Signature input alias: parcel(feed name: serving_default_parcel:0) not found in "
            "request and no default value provided. Inputs expected to be in the request "
            "{letter}, or default input alias set: ",
        ),
    ),
    "one too many": (
        predict(parcel=ONE, box=ONE),
        (
            INVALID,
            "input size does not match signature: 2!=1 len({box,parcel}) != len({parcel}). Sent "
            "extra: {box}. Missing but required: {}.",
        ),
    ),
    "one of two": (
        predict("blend", count=COUNT),
        (
            INVALID,
            "input size does not match signature: 1!=2 len({count}) != len({count,weight}). Sent "
            "extra: {}. Missing but required: {weight}.",
        ),
    ),
    "both of two": (
        predict("blend", weight=WEIGHT, count=COUNT),
        {
            "product": (FLOAT, (2,), [6.0, 0.0]),
            "ratio": (FLOAT, (2,), [1.5, float("-inf")]),
        },
    ),
    "of two lengths": (
        predict("blend", weight=WEIGHT, count=tensor(INT64, 1, int64_val=[2])),
        {"product": (FLOAT, (2,), [6.0, -2.0]), "ratio": (FLOAT, (2,), [1.5, -0.5])},
    ),
    "floats for strings": (
        predict(parcel=WEIGHT),
        (INVALID, "Expects arg[0] to be string but float is provided"),
    ),
    "integers for floats": (
        predict("halve", x=tensor(INT64, 1, 3, int64_val=[1, 2, 3])),
        (INVALID, "Expects arg[0] to be float but int64 is provided"),
    ),
    "second of two of another type": (
        predict("blend", weight=tensor(DOUBLE, 1, double_val=[1.0]), count=COUNT),
        (INVALID, "Expects arg[1] to be float but double is provided"),
    ),
    "vector for a matrix": (
        predict("halve", x=FOUR_FLOATS),
        {"half": (FLOAT, (4,), [0.5, 1.0, 2.0, -4.0])},
    ),
    "matrix of another width": (
        predict("halve", x=tensor(FLOAT, 2, 2, float_val=[1.0, 2.0, 4.0, -8.0])),
        {"half": (FLOAT, (2, 2), [0.5, 1.0, 2.0, -4.0])},
    ),
    "scalar": (
        predict("single", x=tensor(FLOAT, float_val=[5.0])),
        {"y": (FLOAT, (), [4.0])},
    ),
    "vector for a scalar": (
        predict("single", x=tensor(FLOAT, 2, float_val=[5.0, 6.0])),
        {"y": (FLOAT, (2,), [4.0, 5.0])},
    ),
    "scalar for a vector": (
        predict(parcel=tensor(STRING, string_val=[b"abc"])),
        (INVALID, "axis = 1 not in [-1, 1)"),
    ),
    "matrix of strings": (
        predict(parcel=tensor(STRING, 2, 1, string_val=[b"abc", b"d"])),
        weighed(b"abc", b"d", shape=(2, 1)),
    ),
    "no row": (predict(parcel=parcels()), weighed()),
}


@pytest.mark.parametrize("name", INPUTS)
def test_inputs(prediction, name):
    request, answer = INPUTS[name]
    assert answer_to(prediction, request) == answer


FILTERS = {
    "one": (("size",), ["size"]),
    "two": (("size", "label"), ["label", "size"]),
    "unknown": (
        ("colour",),
        (
            INVALID,
            "output tensor alias not found in signature: colour Outputs expected to be in the "
            f"set {OUTPUTS}.",
        ),
    ),
    "twice": (("size", "label", "size"), (INVALID, "duplicate output tensor alias: size")),
    "empty text": (
        ("",),
        (
            INVALID,
            "output tensor alias not found in signature:  Outputs expected to be in the set "
            f"{OUTPUTS}.",
        ),
    ),
}


@pytest.mark.parametrize("name", FILTERS)
def test_output_filter(prediction, name):
    wanted, answer = FILTERS[name]
    given = answer_to(prediction, predict(outputs=wanted, parcel=ONE))
    assert (sorted(given) if isinstance(answer, list) else given) == answer


@pytest.mark.parametrize("dimensions", [2, 8, 9, 32, 33, 48, 64, 65, 200])
def test_many_dimensions(prediction, dimensions):
    assert answer_to(prediction, rank(dimensions)) == weighed(b"abc", shape=(1,) * dimensions)


@pytest.mark.parametrize("dimensions", [255, 400, 5000])
def test_more_dimensions_than_tensorflow_has(prediction, dimensions):
    assert answer_to(prediction, rank(dimensions)) == UNREADABLE


STRINGS = {
    "one value for three rows": (
        tensor(STRING, 3, string_val=[b"ab"]),
        weighed(b"ab", b"ab", b"ab"),
    ),
    "three values for two rows": (
        tensor(STRING, 2, string_val=[b"ab", b"c", b"def"]),
        weighed(b"ab", b"c"),
    ),
    "no value for two rows": (tensor(STRING, 2), weighed(b"", b"")),
    "a value for no row": (tensor(STRING, 0, string_val=[b"ab"]), weighed()),
    "dimension -1": (tensor(STRING, -1, string_val=[b"ab"]), UNREADABLE),
    "dimension -2 after 0": (tensor(STRING, 0, -2), UNREADABLE),
    "2^64 values": (tensor(STRING, 2**32, 2**32, string_val=[b"ab"]), UNREADABLE),
    "2^64 values by 0": (tensor(STRING, 2**32, 2**32, 0), UNREADABLE),
    "0 by 2^61": (
        tensor(STRING, 0, 2**61),
        (INVALID, "Shape output type is 32-bit  but dim 1 is 2305843009213693952"),
    ),
    "unknown rank": (
        tensor(STRING, unknown_rank=True, string_val=[b"ab"]),
        (INVALID, "axis = 1 not in [-1, 1)"),
    ),
    "unknown rank and a dimension": (
        tensor(STRING, 1, unknown_rank=True, string_val=[b"ab"]),
        weighed(b"ab"),
    ),
    "a version of the message": (
        tensor(STRING, 1, string_val=[b"ab"], version_number=7),
        weighed(b"ab"),
    ),
    "type 0": (tensor(0, 1, string_val=[b"ab"]), UNREADABLE),
    "type 77": (tensor(77, 1, string_val=[b"ab"]), UNREADABLE),
    "type of a reference": (tensor(100 + STRING, 1, string_val=[b"ab"]), UNREADABLE),
    "content": (tensor(STRING, 2, tensor_content=b"\1\2abc"), weighed(b"a", b"bc")),
    "content that ends early": (tensor(STRING, 2, tensor_content=b"\1\2ab"), UNREADABLE),
    "content that goes on": (tensor(STRING, 2, tensor_content=b"\1\2abcd"), UNREADABLE),
    "content of too few lengths": (tensor(STRING, 3, tensor_content=b"\0\0"), UNREADABLE),
    "content and values": (
        tensor(STRING, 1, tensor_content=b"\1a", string_val=[b"bcd"]),
        weighed(b"a"),
    ),
    "resource": (
        tensor(RESOURCE, 1),
        (
            INVALID,
            "Invalid resource type hash code: 0(name:  type: ). Perhaps a resource tensor was "
            "being provided as a feed? That is not currently allowed. Please file an issue at "
            "https://github.com/tensorflow/tensorflow/issues/new, ideally with a short code "
            "snippet that leads to this error message.",
        ),
    ),
    "variant": (
        tensor(VARIANT, 1),
        (INVALID, "Expects arg[0] to be string but variant is provided"),
    ),
    "values of integers": (tensor(STRING, 1, int_val=[5]), weighed(b"")),
    "values of both": (tensor(STRING, 1, int_val=[5], string_val=[b"ab"]), weighed(b"ab")),
}


@pytest.mark.parametrize("name", STRINGS)
def test_tensor_of_strings(prediction, name):
    proto, answer = STRINGS[name]
    assert answer_to(prediction, predict(parcel=proto)) == answer


THREE = b"\0\0\x80\x3f\0\0\0\x40\0\0\x80\x40"  # 1.0, 2.0, 4.0
FLOATS = {
    "content": (dict(tensor_content=THREE), [0.5, 1.0, 2.0]),
    "content too short": (dict(tensor_content=THREE[:11]), UNREADABLE_X),
    "content too long": (dict(tensor_content=THREE + THREE[:4]), UNREADABLE_X),
    "content and values": (dict(tensor_content=THREE, float_val=[8.0]), [0.5, 1.0, 2.0]),
    "one value": (dict(float_val=[8.0]), [4.0, 4.0, 4.0]),
    "two values": (dict(float_val=[8.0, 1.0]), [4.0, 0.5, 0.5]),
    "four values": (dict(float_val=[8.0, 1.0, 2.0, 3.0]), [4.0, 0.5, 1.0]),
    "no values": ({}, [0.0, 0.0, 0.0]),
    "values of integers": (dict(int_val=[1, 2, 3]), [0.0, 0.0, 0.0]),
    "values of doubles": (dict(double_val=[1.0, 2.0, 3.0]), [0.0, 0.0, 0.0]),
}


@pytest.mark.parametrize("name", FLOATS)
def test_tensor_of_floats(prediction, name):
    fields, answer = FLOATS[name]
    expected = answer if isinstance(answer, tuple) else {"half": (FLOAT, (1, 3), answer)}
    assert answer_to(prediction, predict("halve", x=tensor(FLOAT, 1, 3, **fields))) == expected


def test_floats_that_are_no_numbers(prediction):
    proto = tensor(FLOAT, 4, float_val=[float("nan"), float("inf"), float("-inf"), -0.0])
    values = answer_to(prediction, predict("halve", x=proto))["half"][2]
    assert [repr(value) for value in values] == ["nan", "inf", "-inf", "-0.0"]


# Two values of each type in the field that carries it, and what comes back.
PLAIN_KINDS: dict[str, tuple] = {
    "flag": (BOOL, dict(bool_val=[True, False]), [True, False]),
    "byte": (UINT8, dict(int_val=[7, 255]), [7, 255]),
    "small": (INT8, dict(int_val=[7, -128]), [7, -128]),
    "short": (INT16, dict(int_val=[7, -32768]), [7, -32768]),
    "port": (UINT16, dict(int_val=[7, 65535]), [7, 65535]),
    "index": (UINT32, dict(uint32_val=[7, 2**32 - 1]), [7, 2**32 - 1]),
    "hash": (UINT64, dict(uint64_val=[7, 2**64 - 1]), [7, 2**64 - 1]),
    "half": (HALF, dict(half_val=[0x3E00, 0xC000]), [1.5, -2.0]),
    "brain": (BFLOAT16, dict(half_val=[0x3FC0, 0xC000]), [1.5, -2.0]),
    "wide": (DOUBLE, dict(double_val=[1e300, -1e-300]), [1e300, -1e-300]),
    "wave": (COMPLEX64, dict(scomplex_val=[1.0, 2.0, 0.0, -3.0]), [1 + 2j, -3j]),
}
ODD_KINDS: dict[str, tuple] = {
    "byte": (dict(int_val=[256, 513]), [0, 1]),
    "small": (dict(int_val=[128, -129]), [-128, 127]),
    "short": (dict(int_val=[65537]), [1, 1]),
    "flag": (dict(bool_val=[True]), [True, True]),
    "half": (dict(tensor_content=b"\0\x3e\0\xc0"), [1.5, -2.0]),
    "brain": (dict(tensor_content=b"\xc0\x3f\0\xc0"), [1.5, -2.0]),
    "wave": (dict(scomplex_val=[1.0, 2.0]), [1 + 2j, 1 + 2j]),
    "hash": (dict(tensor_content=b"\1" + b"\0" * 15), [1, 0]),
}


@pytest.mark.parametrize("odd", [None, *ODD_KINDS])
def test_every_type_comes_back(prediction, odd):
    assert PLAIN_KINDS.keys() == KINDS.keys()
    inputs, expected = {}, {}
    for name, (dtype, fields, values) in PLAIN_KINDS.items():
        if name == odd:
            fields, values = ODD_KINDS[name]
        inputs[name], expected[name] = tensor(dtype, 2, **fields), (dtype, (2,), values)
    assert answer_to(prediction, predict("kinds", **inputs)) == expected


def test_answers_stand_in_the_fields_of_their_types(prediction):
    inputs = {name: tensor(kind[0], 2, **kind[1]) for name, kind in PLAIN_KINDS.items()}
    outputs = prediction.Predict(predict("kinds", **inputs)).outputs
    for name, (dtype, fields, _) in PLAIN_KINDS.items():
        assert outputs[name] == tensor(dtype, 2, **fields)


def test_bytes_that_are_no_message(channel):
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    assert ask(call, b"\xff\xff\xff") == ("INTERNAL", "")
    assert ask(call, b"") == (INVALID, "Missing ModelSpec")


def request_of(message: type, signature: str, *rows: float, **context: float) -> Any:
    """A request with these rows as examples."""
    request = message(model_spec=spec(signature_name=signature))
    if context:
        given = request.input.example_list_with_context
        given.context.CopyFrom(example(context["n"]))
        given.examples.extend(example(row) if row else type(example(0))() for row in rows)
    else:
        request.input.example_list.examples.extend(example(row) for row in rows)
    return request


NO_CLASSIFIER = {
    "too many outputs": ("", "Expected one or two output Tensors, found 4"),
    "unknown signature": ("lose", "No signature was found with the name: lose"),
    "two inputs": ("blend", "Expected one input Tensor."),
    "no examples": ("sort", "Input is empty."),
}


@pytest.mark.parametrize("name", NO_CLASSIFIER)
def test_classify_refuses(prediction, name):
    signature, text = NO_CLASSIFIER[name]
    rows = () if name == "no examples" else (1.0,)
    request = request_of(classification_pb2.ClassificationRequest, signature, *rows)
    assert ask(prediction.Classify, request) == (INVALID, text)


NO_REGRESSOR = {
    "too many outputs": ("", "Expected one output Tensor."),
    "two inputs": ("blend", "Expected one input Tensor."),
    "floats for examples": ("rate", "Expects arg[0] to be float but string is provided"),
    "no examples": ("rate", "Input is empty."),
}


@pytest.mark.parametrize("name", NO_REGRESSOR)
def test_regress_refuses(prediction, name):
    signature, text = NO_REGRESSOR[name]
    rows = () if name == "no examples" else (1.0,)
    request = request_of(regression_pb2.RegressionRequest, signature, *rows)
    assert ask(prediction.Regress, request) == (INVALID, text)


@pytest.mark.parametrize(
    "call, request_type, signature, text",
    [
        ("Classify", classification_pb2.ClassificationRequest, "halve", "No classification inputs"),
        ("Regress", regression_pb2.RegressionRequest, "halve", "No regression inputs"),
        ("Classify", classification_pb2.ClassificationRequest, "price", "Expected classification"),
    ],
)
def test_signature_with_other_names(prediction, call, request_type, signature, text):
    code, details = ask(getattr(prediction, call), request_of(request_type, signature, 1.0))
    assert code == "FAILED_PRECONDITION" and details.startswith(text)


def test_classify(prediction):
    request = request_of(classification_pb2.ClassificationRequest, "sort", 0.25, 1.0)
    answer = ask(prediction.Classify, request)
    assert [
        [(each.label, each.score) for each in row.classes] for row in answer.result.classifications
    ] == [[("heavy", 0.25), ("light", 0.75)], [("heavy", 1.0), ("light", 0.0)]]
    said = answer.model_spec
    assert (said.name, said.version.value, said.signature_name) == ("parcel", 2, "sort")


def test_regress(prediction):
    request = request_of(regression_pb2.RegressionRequest, "price", 0.5, 2.0)
    answer = ask(prediction.Regress, request)
    assert [each.value for each in answer.result.regressions] == [5.0, 20.0]


def test_context_is_a_part_of_each_example(prediction):
    request = request_of(regression_pb2.RegressionRequest, "price", 0.5, 0.0, n=3.0)
    answer = ask(prediction.Regress, request)
    assert [each.value for each in answer.result.regressions] == [5.0, 30.0]


def test_tasks_side_by_side(prediction):
    # Each signature has its own input, as TensorFlow exports them.
    request = inference_pb2.MultiInferenceRequest()
    for signature, method in (("price", "regress"), ("sort", "classify")):
        request.tasks.add(
            model_spec=spec(signature_name=signature), method_name=f"tensorflow/serving/{method}"
        )
    request.input.example_list.examples.append(example(0.5))
    assert ask(prediction.MultiInference, request) == (
        INVALID,
        "Input tensor must be the same for all Signatures.",
    )
    del request.tasks[1]
    (result,) = ask(prediction.MultiInference, request).results
    assert [each.value for each in result.regression_result.regressions] == [5.0]


TASKS = {
    "none": ([], (INVALID, "ModelSpec has no name specified.")),
    "unknown signature": (
        [("lose", "regress")],
        (INVALID, "Requested signature not found in model graph: lose"),
    ),
    "twice": (
        [("price", "regress"), ("price", "regress")],
        (INVALID, "Duplicate evaluation of signature: price"),
    ),
    "unknown method": (
        [("price", "predict")],
        ("UNIMPLEMENTED", "Unsupported signature method_name: tensorflow/serving/predict"),
    ),
    "no classifier": (
        [("", "classify")],
        (INVALID, "Expected one or two output Tensors, found 4"),
    ),
}


@pytest.mark.parametrize("name", TASKS)
def test_tasks_that_are_refused(prediction, name):
    tasks, answer = TASKS[name]
    request = inference_pb2.MultiInferenceRequest()
    for signature, method in tasks:
        request.tasks.add(
            model_spec=spec(signature_name=signature), method_name=f"tensorflow/serving/{method}"
        )
    assert ask(prediction.MultiInference, request) == answer


METADATA = {
    "no field": (spec(), [], "GetModelMetadataRequest must specify at least one metadata_field"),
    "another field": (spec(), ["weight"], "Metadata field weight is not supported"),
    "both": (spec(), ["signature_def", "weight"], "Metadata field weight is not supported"),
    "no model": (None, ["signature_def"], "Missing ModelSpec"),
}


@pytest.mark.parametrize("name", METADATA)
def test_metadata_is_refused(prediction, name):
    asked, fields, text = METADATA[name]
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec=asked, metadata_field=fields
    )
    assert ask(prediction.GetModelMetadata, request) == (INVALID, text)


def test_metadata(prediction):
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec=spec("letter"), metadata_field=["signature_def"]
    )
    assert ask(prediction.GetModelMetadata, request) == not_served("Latest(letter)")
    request.model_spec.name = "parcel"
    packed = get_model_metadata_pb2.SignatureDefMap()
    prediction.GetModelMetadata(request).metadata["signature_def"].Unpack(packed)
    halve = packed.signature_def["halve"]
    assert [dim.size for dim in halve.inputs["x"].tensor_shape.dim] == [-1, 3]
    assert (halve.inputs["x"].dtype, halve.outputs["half"].dtype) == (FLOAT, FLOAT)


STATUS = {
    "all": (spec(), [2, 1]),
    "version 1": (spec(version=1), [1]),
    "version 7": (spec(version=7), ("NOT_FOUND", "Could not find version 7 of model parcel")),
    "another model": (
        spec("letter"),
        ("NOT_FOUND", "Could not find any versions of model letter"),
    ),
    "no name": (spec(""), ("NOT_FOUND", "Could not find any versions of model ")),
    "label": (spec(version_label="best"), [2, 1]),
    "no model": (None, (INVALID, "Missing ModelSpec")),
}


@pytest.mark.parametrize("name", STATUS)
def test_status(channel, name):
    asked, answer = STATUS[name]
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    request = get_model_status_pb2.GetModelStatusRequest(model_spec=asked)
    given = ask(stub.GetModelStatus, request)
    if isinstance(answer, list):
        given = [each.version for each in given.model_version_status if each.state == 30]
    assert given == answer
