"""TensorFlow Serving's answers, compared with the embedded server's and the real server's.

The real half runs if `tensorflow_model_server` is on PATH; rows that need no special flags run also
against the address in IMGCAP_TF_SERVING. A server there must hold the toy under the name `imgcap`;
`python -m tests.support.toy_model DIR` writes it.
"""

import base64
import json
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from imgcap.errors import ServingError
from serving.wire import wire_pb2
from tests.support.servers import KINDS, Running, address_given, running
from tests.support.toy_model import write_toy_model
from tests.support.waiting import wait_for

OUTPUTS = "{caption,captions,error,score,scores,token_log_probs,tokens}"


@pytest.fixture(scope="module")
def base_path(tmp_path_factory) -> Path:
    base_path = tmp_path_factory.mktemp("models") / "imgcap"
    write_toy_model(base_path / "1")
    return base_path


@pytest.fixture(scope="module", params=KINDS)
def target(request, base_path) -> Iterator[str]:
    """The address of a server that holds the toy."""
    if request.param == "real" and address_given():
        yield address_given()
        return
    with running(request.param, model_base_path=str(base_path)) as server:
        yield server.target


@pytest.fixture(scope="module")
def channel(target) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(target) as channel:
        yield channel


@pytest.fixture(scope="module")
def prediction(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def models(channel):
    return model_service_pb2_grpc.ModelServiceStub(channel)


def predict_request(
    inputs: dict | None = None,
    name: str = "imgcap",
    signature: str = "",
    version: int | None = None,
    label: str = "",
    output_filter: tuple[str, ...] = (),
) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest(output_filter=output_filter)
    request.model_spec.name, request.model_spec.signature_name = name, signature
    if version is not None:
        request.model_spec.version.value = version
    if label:
        request.model_spec.version_label = label
    for alias, value in ({"image_bytes": [b"xx"]} if inputs is None else inputs).items():
        proto = value if isinstance(value, TensorProto) else tf.make_tensor_proto(value)
        request.inputs[alias].CopyFrom(proto)
    return request


def refusal(call, request) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=20)
    return caught.value.code().name, caught.value.details()


def broken_content() -> TensorProto:
    proto = tf.make_tensor_proto([1.0, 2.0])
    proto.tensor_content = proto.tensor_content[:5]
    return proto


REFUSED = {
    "unknown model": (
        dict(name="nope"),
        "NOT_FOUND",
        "Servable not found for request: Latest(nope)",
    ),
    "unknown version": (
        dict(version=99),
        "NOT_FOUND",
        "Servable not found for request: Specific(imgcap, 99)",
    ),
    "unknown version of an unknown model": (
        dict(name="nope", version=1),
        "NOT_FOUND",
        "Servable not found for request: Specific(nope, 1)",
    ),
    "unknown label": (
        dict(label="canary"),
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: canary",
    ),
    "no model name": (dict(name=""), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    "unknown signature": (
        dict(signature="bogus"),
        "FAILED_PRECONDITION",
        'Serving signature key "bogus" not found.',
    ),
    "no input": (
        dict(inputs={}),
        "INVALID_ARGUMENT",
        "input size does not match signature: 0!=1 len({}) != len({image_bytes}). Sent extra: {}. "
        "Missing but required: {image_bytes}.",
    ),
    "an input too many": (
        dict(inputs={"image_bytes": [b"x"], "y": [b"x"], "a": [b"x"]}),
        "INVALID_ARGUMENT",
        "input size does not match signature: 3!=1 len({a,image_bytes,y}) != len({image_bytes}). "
        "Sent extra: {a,y}. Missing but required: {}.",
    ),
    "wrong alias": (
        dict(inputs={"x": [b"x"]}),
        "INVALID_ARGUMENT",
        "Signature input alias: image_bytes(feed name: decode_image_bytes:0) not found in request "
        "and no default value provided. Inputs expected to be in the request {x}, or default "
        "input alias set: ",
    ),
    "wrong dtype": (
        dict(inputs={"image_bytes": [1.0]}),
        "INVALID_ARGUMENT",
        "Expects arg[0] to be string but float is provided",
    ),
    "content of the wrong size": (
        dict(inputs={"image_bytes": broken_content()}),
        "INVALID_ARGUMENT",
        "tensor parsing error: image_bytes",
    ),
    "unknown output": (
        dict(output_filter=("zzz",)),
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: zzz Outputs expected to be in the set "
        f"{OUTPUTS}.",
    ),
    "repeated output": (
        dict(output_filter=("caption", "caption")),
        "INVALID_ARGUMENT",
        "duplicate output tensor alias: caption",
    ),
    "model before signature": (
        dict(name="nope", signature="bogus"),
        "NOT_FOUND",
        "Servable not found for request: Latest(nope)",
    ),
    "signature before inputs": (
        dict(signature="bogus", inputs={}),
        "FAILED_PRECONDITION",
        'Serving signature key "bogus" not found.',
    ),
    "inputs before filter": (
        dict(inputs={"image_bytes": broken_content()}, output_filter=("zzz",)),
        "INVALID_ARGUMENT",
        "tensor parsing error: image_bytes",
    ),
    "filter before run": (
        dict(inputs={"image_bytes": [1.0]}, output_filter=("caption", "caption")),
        "INVALID_ARGUMENT",
        "duplicate output tensor alias: caption",
    ),
}


@pytest.mark.parametrize("row", REFUSED)
def test_predict_refuses(prediction, row):
    arguments, code, details = REFUSED[row]
    signature = arguments.setdefault("signature", "decode")
    assert refusal(prediction.Predict, predict_request(**arguments)) == (code, details), signature


def test_predict_without_a_model_spec(prediction):
    assert refusal(prediction.Predict, predict_pb2.PredictRequest()) == (
        "INVALID_ARGUMENT",
        "Missing ModelSpec",
    )


@pytest.mark.parametrize(
    "image_bytes, first_line",
    [
        (b"text", "Unknown image file format. One of JPEG, JPEG XL, PNG, GIF, BMP, WebP required."),
        (
            b"\xff\xd8\xff\xe0" + b"0" * 40,
            "jpeg::Uncompress failed. Invalid JPEG data or crop window.",
        ),
    ],
)
def test_what_the_graph_says_comes_with_its_node(prediction, image_bytes, first_line):
    code, details = refusal(
        prediction.Predict, predict_request({"image_bytes": [image_bytes]}, signature="raises")
    )
    assert code == "INVALID_ARGUMENT"
    assert details.startswith(first_line + "\n\t [[{{") and details.endswith("}}]]")


def test_long_details_are_cut(prediction):
    code, details = refusal(prediction.Predict, predict_request(signature="s" * 3000))
    assert code == "FAILED_PRECONDITION"
    assert len(details) == 1024 + len("...TRUNCATED") and details.endswith("s...TRUNCATED")


def test_answer_names_model_version_and_signature(prediction):
    response = prediction.Predict(
        predict_request({"image_bytes": [b"four", b"bad", b"six\0\0\xff"]})
    )
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("imgcap", 1, "serving_default")
    outputs = {alias: tf.make_ndarray(tensor) for alias, tensor in response.outputs.items()}
    assert "{" + ",".join(sorted(outputs)) + "}" == OUTPUTS
    assert outputs["caption"].tolist() == [b"an image of 4 bytes", b"", b"an image of 6 bytes"]
    assert outputs["error"].tolist() == [b"", b"not an image", b""]
    np.testing.assert_allclose(outputs["score"], [-0.004, -0.003, -0.006])
    assert {
        alias: array.dtype.name for alias, array in outputs.items() if array.dtype != object
    } == {
        "score": "float32",
        "scores": "float32",
        "tokens": "int32",
        "token_log_probs": "float32",
    }
    assert outputs["tokens"].shape == outputs["token_log_probs"].shape == (3, 3, 5)


def test_numbers_stand_in_the_typed_fields(prediction):
    outputs = prediction.Predict(predict_request()).outputs
    assert len(outputs["scores"].float_val) == 3 and not outputs["scores"].tensor_content
    assert len(outputs["tokens"].int_val) == 15 and not outputs["tokens"].tensor_content


def test_output_filter_chooses(prediction):
    response = prediction.Predict(
        predict_request(output_filter=("score", "caption"), signature="decode", version=1)
    )
    assert set(response.outputs) == {"score", "caption"}
    assert response.model_spec.signature_name == "decode"


def status_request(
    name: str | None, version: int | None = None
) -> get_model_status_pb2.GetModelStatusRequest:
    request = get_model_status_pb2.GetModelStatusRequest()
    if name is not None:
        request.model_spec.name = name
    if version is not None:
        request.model_spec.version.value = version
    return request


def test_status(models):
    for request in (status_request("imgcap"), status_request("imgcap", 1)):
        (status,) = models.GetModelStatus(request).model_version_status
        assert (status.version, status.state) == (
            1,
            get_model_status_pb2.ModelVersionStatus.AVAILABLE,
        )
        assert (status.status.error_code, status.status.error_message) == (0, "")


@pytest.mark.parametrize(
    "request_, code, details",
    [
        (status_request("nope"), "NOT_FOUND", "Could not find any versions of model nope"),
        (status_request("imgcap", 99), "NOT_FOUND", "Could not find version 99 of model imgcap"),
        (status_request(""), "NOT_FOUND", "Could not find any versions of model "),
        (status_request(None), "INVALID_ARGUMENT", "Missing ModelSpec"),
    ],
)
def test_status_refuses(models, request_, code, details):
    if request_ == status_request(""):
        request_.model_spec.SetInParent()
    assert refusal(models.GetModelStatus, request_) == (code, details)


def metadata_request(
    *fields: str, name: str | None = "imgcap"
) -> get_model_metadata_pb2.GetModelMetadataRequest:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    if name is not None:
        request.model_spec.name = name
    return request


def test_metadata_lists_the_signatures(prediction, base_path):
    response = prediction.GetModelMetadata(metadata_request("signature_def"))
    assert (response.model_spec.name, response.model_spec.version.value) == ("imgcap", 1)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def) == {
        "serving_default",
        "decode",
        "describe",
        "raises",
        "slow",
        "__saved_model_init_op",
    }
    decode = signatures.signature_def["decode"]
    assert decode.method_name == "tensorflow/serving/predict"
    assert decode.inputs["image_bytes"].dtype == tf.string.as_datatype_enum
    assert [dim.size for dim in decode.outputs["tokens"].tensor_shape.dim] == [-1, 3, 5]


@pytest.mark.parametrize(
    "request_, code, details",
    [
        (metadata_request("signature_def", name=None), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (
            metadata_request(),
            "INVALID_ARGUMENT",
            "GetModelMetadataRequest must specify at least one metadata_field",
        ),
        (metadata_request("foo"), "INVALID_ARGUMENT", "Metadata field foo is not supported"),
        (
            metadata_request("signature_def", name="nope"),
            "NOT_FOUND",
            "Servable not found for request: Latest(nope)",
        ),
    ],
)
def test_metadata_refuses(prediction, request_, code, details):
    assert refusal(prediction.GetModelMetadata, request_) == (code, details)


def test_it_is_no_classifier_and_no_regressor(prediction):
    classify = classification_pb2.ClassificationRequest()
    classify.model_spec.name = "imgcap"
    assert refusal(prediction.Classify, classify) == (
        "INVALID_ARGUMENT",
        "Expected one or two output Tensors, found 7",
    )
    regress = regression_pb2.RegressionRequest()
    regress.model_spec.name = "imgcap"
    assert refusal(prediction.Regress, regress) == (
        "INVALID_ARGUMENT",
        "Expected one output Tensor.",
    )


@pytest.mark.parametrize(
    "method, details",
    [
        ("classify", "Expected one or two output Tensors, found 7"),
        ("regress", "Expected one output Tensor."),
    ],
)
def test_multi_inference_meets_the_same_checks(prediction, method, details):
    assert refusal(prediction.MultiInference, inference_pb2.MultiInferenceRequest()) == (
        "INVALID_ARGUMENT",
        "ModelSpec has no name specified.",
    )
    request = inference_pb2.MultiInferenceRequest()
    task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
    task.model_spec.name = "imgcap"
    assert refusal(prediction.MultiInference, request) == ("INVALID_ARGUMENT", details)


def test_reload_takes_only_a_list(models):
    request = model_management_pb2.ReloadConfigRequest()
    request.config.custom_model_config.SetInParent()
    assert refusal(models.HandleReloadConfigRequest, request) == (
        "INVALID_ARGUMENT",
        "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList "
        "is currently supported",
    )


def test_health(channel):
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=wire_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=wire_pb2.HealthCheckResponse.FromString,
    )
    for service in ("", "ModelService", "PredictionService"):
        answer = check(wire_pb2.HealthCheckRequest(service=service))
        assert answer.status == wire_pb2.HealthCheckResponse.SERVING
    unknown = wire_pb2.HealthCheckRequest(service="tensorflow.serving.PredictionService")
    assert refusal(check, unknown) == ("NOT_FOUND", "service name unknown")


# From here on a row has servers of its own, for it needs other flags or changes what is served.


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    """The kind of server, embedded or real."""
    return request.param


@pytest.fixture(scope="module")
def toys(tmp_path_factory) -> dict[str, Path]:
    """Two different toys, to be copied into place."""
    folder = tmp_path_factory.mktemp("toys")
    return {word: write_toy_model(folder / word, word) for word in ("one", "two")}


def publish(model: Path, base_path: Path, version: int) -> None:
    shutil.copytree(model, base_path / f".{version}.partial")
    (base_path / f".{version}.partial").rename(base_path / str(version))


def ask(target: str, **arguments) -> predict_pb2.PredictResponse:
    with grpc.insecure_channel(target) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        return stub.Predict(predict_request(**arguments), timeout=20)


def asked_in_vain(target: str, **arguments) -> tuple[str, str]:
    with grpc.insecure_channel(target) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        return refusal(stub.Predict, predict_request(**arguments))


def answers_for(target: str, name: str) -> bool:
    try:
        return bool(ask(target, name=name).outputs)
    except grpc.RpcError:
        return False


def first_caption(response: predict_pb2.PredictResponse) -> str:
    return response.outputs["caption"].string_val[0].decode()


def states(target: str, name: str = "imgcap") -> dict[int, str]:
    with grpc.insecure_channel(target) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        found = stub.GetModelStatus(status_request(name), timeout=20).model_version_status
    state = get_model_status_pb2.ModelVersionStatus.State.Name
    return {status.version: state(status.state) for status in found}


def test_over_the_thread_quota(kind, base_path):
    with (
        running(kind, model_base_path=str(base_path), grpc_max_threads=4) as server,
        ThreadPoolExecutor(16) as pool,
    ):
        calls = [pool.submit(ask, server.target, signature="slow") for _ in range(16)]
        errors = [call.exception() for call in calls]
    refused = [(error.code().name, error.details()) for error in errors if error]
    assert set(refused) == {("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted")}
    answered = errors.count(None)
    # Of the real server's 4 threads, gRPC itself may keep one: the exact number is its affair.
    assert 1 <= answered < 16 and (kind == "real" or answered >= 4)


def test_scalar_fails_in_the_graph(prediction):
    code, details = refusal(prediction.Predict, predict_request({"image_bytes": b"x"}))
    assert code == "INVALID_ARGUMENT" and "[[{{" in details


def test_large_request_passes_and_empty_batch_is_the_graphs_affair(prediction):
    response = prediction.Predict(predict_request({"image_bytes": [b"x" * 20_000_000]}))
    assert first_caption(response) == "an image of 20000000 bytes"
    response = prediction.Predict(predict_request({"image_bytes": np.array([], dtype=object)}))
    assert response.outputs["caption"].tensor_shape.dim[0].size == 0


def test_default_channel_caps_what_it_receives(base_path):
    with running("embedded", model_base_path=str(base_path)) as server:
        rows = {"image_bytes": [b"x"] * 40_000}
        code, details = asked_in_vain(server.target, inputs=rows)
        assert code == "RESOURCE_EXHAUSTED" and "larger than max" in details
        with grpc.insecure_channel(
            server.target, [("grpc.max_receive_message_length", -1)]
        ) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            assert len(stub.Predict(predict_request(rows)).outputs["caption"].string_val) == 40_000


def test_new_version_takes_over_without_an_error(kind, tmp_path, toys):
    publish(toys["one"], tmp_path, 1)
    with running(kind, model_base_path=str(tmp_path)) as server:
        seen, ended, errors = [], threading.Event(), []

        def keep_asking():
            while not ended.is_set():
                try:
                    seen.append(ask(server.target).model_spec.version.value)
                except grpc.RpcError as error:
                    errors.append(error)

        asker = threading.Thread(target=keep_asking)
        asker.start()
        publish(toys["two"], tmp_path, 2)
        wait_for(lambda: states(server.target) == {1: "END", 2: "AVAILABLE"}, seconds=30.0)
        ended.set()
        asker.join()
        assert first_caption(ask(server.target)) == "two image of 2 bytes"
    assert not errors and set(seen) == {1, 2} and seen == sorted(seen)


def test_corrupt_version_beside_a_good_one(kind, tmp_path, toys):
    publish(toys["one"], tmp_path, 2)
    with running(kind, model_base_path=str(tmp_path)) as server:
        (tmp_path / "3").mkdir()
        (tmp_path / "3" / "saved_model.pb").write_bytes(b"nonsense")
        wait_for(lambda: 3 in states(server.target), seconds=30.0)
        assert states(server.target) in (
            {2: "AVAILABLE", 3: "LOADING"},
            {2: "AVAILABLE", 3: "START"},
        )
        assert ask(server.target).model_spec.version.value == 2
        counter = ":tensorflow:cc:saved_model:load_attempt_count"

        def attempts() -> set[str]:
            _, text = http(f"{server.http}/monitoring/prometheus/metrics")
            return {line for line in text.splitlines() if line.startswith(counter)}

        wait_for(lambda: len(attempts()) == 2, seconds=30.0)
        assert attempts() == {
            f'{counter}{{model_path="{tmp_path}/2",status="success"}} 1',
            f'{counter}{{model_path="{tmp_path}/3",status="fail"}} 1',
        }


def config_list(text: str) -> model_management_pb2.ReloadConfigRequest:
    request = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(text, request.config.model_config_list)
    return request


def config(name: str, base_path: Path | str, more: str = "") -> str:
    return (
        f'config {{ name: "{name}" base_path: "{base_path}" model_platform: "tensorflow" {more} }}'
    )


def reload(target: str, *configs: str) -> None:
    with grpc.insecure_channel(target) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        answer = stub.HandleReloadConfigRequest(config_list("\n".join(configs)), timeout=20)
    assert answer.status.error_code == 0


def reload_refused(target: str, *configs: str) -> tuple[str, str]:
    with grpc.insecure_channel(target) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        return refusal(stub.HandleReloadConfigRequest, config_list("\n".join(configs)))


@pytest.fixture
def two_models(kind, tmp_path, toys) -> Iterator[tuple[Running, Path, Path]]:
    """A server with versions 1 and 2 of a model, that model's base path, and another model's."""
    mine, other = tmp_path / "imgcap", tmp_path / "other"
    for base_path in (mine, other):
        base_path.mkdir()
    publish(toys["one"], mine, 1)
    publish(toys["two"], mine, 2)
    publish(toys["one"], other, 7)
    with running(kind, model_base_path=str(mine)) as server:
        yield server, mine, other


def test_reload_replaces_the_list(two_models):
    server, mine, other = two_models
    reload(server.target, config("imgcap", mine), config("other", other))
    assert ask(server.target, name="other").model_spec.version.value == 7
    assert ask(server.target).model_spec.version.value == 2
    reload(server.target, config("other", other))
    wait_for(lambda: states(server.target) == {2: "END"}, seconds=30.0)
    assert asked_in_vain(server.target) == (
        "NOT_FOUND",
        "Servable not found for request: Latest(imgcap)",
    )
    assert first_caption(ask(server.target, name="other")) == "one image of 2 bytes"
    reload(server.target, config("imgcap", mine))
    assert first_caption(ask(server.target)) == "two image of 2 bytes"


def test_version_policies(two_models):
    server, mine, _ = two_models
    assert (
        asked_in_vain(server.target, version=1)[1]
        == "Servable not found for request: Specific(imgcap, 1)"
    )
    reload(server.target, config("imgcap", mine, "model_version_policy { all {} }"))
    wait_for(lambda: states(server.target) == {1: "AVAILABLE", 2: "AVAILABLE"}, seconds=30.0)
    answers = [first_caption(ask(server.target, version=version)) for version in (1, 2, None)]
    assert [answer.split()[0] for answer in answers] == ["one", "two", "two"]
    reload(
        server.target, config("imgcap", mine, "model_version_policy { specific { versions: 1 } }")
    )
    wait_for(lambda: states(server.target) == {1: "AVAILABLE", 2: "END"}, seconds=30.0)
    assert ask(server.target).model_spec.version.value == 1
    reload(
        server.target, config("imgcap", mine, "model_version_policy { latest { num_versions: 2 } }")
    )
    wait_for(lambda: states(server.target) == {1: "AVAILABLE", 2: "AVAILABLE"}, seconds=30.0)


def test_labels_name_versions_that_serve_already(two_models):
    server, mine, _ = two_models
    both = "model_version_policy { specific { versions: 1 versions: 2 } }"
    stable = 'version_labels { key: "stable" value: 1 }'
    for _ in range(2):  # a refused list is not taken at all, and refused again
        assert reload_refused(server.target, config("imgcap", mine, f"{both} {stable}")) == (
            "FAILED_PRECONDITION",
            "Request to assign label to version 1 of model imgcap, which is not currently "
            "available for inference",
        )
        time.sleep(0.5)
        assert states(server.target) == {2: "AVAILABLE"}
    reload(server.target, config("imgcap", mine, both))
    wait_for(lambda: states(server.target) == {1: "AVAILABLE", 2: "AVAILABLE"}, seconds=30.0)
    canary = 'version_labels { key: "canary" value: 2 }'
    reload(server.target, config("imgcap", mine, f"{both} {stable} {canary}"))
    assert ask(server.target, label="stable").model_spec.version.value == 1
    assert ask(server.target, label="canary").model_spec.version.value == 2
    moved = 'version_labels { key: "stable" value: 2 }'
    reload(server.target, config("imgcap", mine, f"{both} {moved}"))
    assert ask(server.target, label="stable").model_spec.version.value == 2
    assert asked_in_vain(server.target, label="canary") == (
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: canary",
    )


def test_reload_checks_the_list_first(two_models):
    server, mine, _ = two_models
    assert reload_refused(server.target, config("cap", "models/cap")) == (
        "INVALID_ARGUMENT",
        "Expected model cap to have an absolute path or URI; got base_path()=models/cap",
    )
    assert reload_refused(server.target, config("imgcap", mine), config("imgcap", mine)) == (
        "INVALID_ARGUMENT",
        "Illegal to list model imgcap multiple times in config list",
    )
    assert ask(server.target).model_spec.version.value == 2


@pytest.mark.parametrize(
    "kind", ["embedded"]
)  # the real one waits for the folder, with its lock held
def test_reload_with_a_bad_base_path_is_answered_and_changes_nothing(two_models, tmp_path):
    server, mine, other = two_models
    code, details = reload_refused(server.target, config("imgcap", tmp_path / "none"))
    assert (code, details) == (
        "NOT_FOUND",
        f"Could not find base path {tmp_path / 'none'} for servable imgcap",
    )
    (tmp_path / "empty").mkdir()
    code, details = reload_refused(server.target, config("imgcap", tmp_path / "empty"))
    assert code == "NOT_FOUND" and details.startswith(
        "No versions of servable imgcap found under base path"
    )
    (tmp_path / "empty" / "5").mkdir()
    new = config("new", tmp_path / "empty")
    code, details = reload_refused(server.target, config("other", other), new)
    assert code == "UNKNOWN"
    assert details.startswith(
        "1 servable(s) did not become available: {{{name: new version: 5} due to "
    )
    policy = "model_version_policy { specific { versions: 9 } }"
    code, details = reload_refused(server.target, config("imgcap", mine, policy))
    assert (
        code == "NOT_FOUND"
        and "has none of the versions that the policy names (9), only 1, 2" in details
    )
    assert ask(server.target).model_spec.version.value == 2 and states(server.target) == {
        2: "AVAILABLE"
    }
    reload(server.target, config("other", other))
    assert ask(server.target, name="other").model_spec.version.value == 7


def write_list(path: Path, *configs: str) -> str:
    path.write_text(f"model_config_list {{ {' '.join(configs)} }}")
    return str(path)


def test_labels_at_the_start_need_leave(kind, tmp_path, toys):
    publish(toys["one"], tmp_path, 1)
    label = config("imgcap", tmp_path, 'version_labels { key: "stable" value: 1 }')
    flags = {"model_config_file": write_list(tmp_path / "models.config", label)}
    with (
        pytest.raises((ServingError, AssertionError), match="label|did not come up"),
        running(kind, **flags),
    ):
        pass
    with running(kind, **flags, allow_version_labels_for_unavailable_models=True) as server:
        assert ask(server.target, label="stable").model_spec.version.value == 1


def test_changed_file_is_taken_and_a_wrong_one_is_not(kind, tmp_path, toys):
    for name, version in (("imgcap", 1), ("imgcap", 2), ("other", 7)):
        (tmp_path / name).mkdir(exist_ok=True)
        publish(toys["one"], tmp_path / name, version)
    path = tmp_path / "models.config"
    first = "model_version_policy { specific { versions: 1 } }"
    write_list(path, config("imgcap", tmp_path / "imgcap", first))
    flags = {"model_config_file": str(path), "model_config_file_poll_wait_seconds": 1}
    with running(kind, **flags) as server:
        assert states(server.target) == {1: "AVAILABLE"}
        path.write_text("model_config_list { nonsense }")
        time.sleep(1.2)
        assert states(server.target) == {1: "AVAILABLE"}
        write_list(path, config("imgcap", tmp_path / "imgcap"), config("other", tmp_path / "other"))
        # A new model and a new version of another become available one after the other.
        wait_for(lambda: answers_for(server.target, "other"), seconds=30.0)
        wait_for(lambda: states(server.target).get(2) == "AVAILABLE", seconds=30.0)
        assert ask(server.target).model_spec.version.value == 2


PIXEL = tf.io.encode_png(tf.zeros([1, 1, 3], tf.uint8)).numpy()


@pytest.fixture(scope="module", params=KINDS)
def batching_target(request, base_path, tmp_path_factory) -> Iterator[str]:
    """A server that merges requests: batches of 4 or 8."""
    path = tmp_path_factory.mktemp("batching") / "batching.config"
    path.write_text(
        "max_batch_size { value: 8 } batch_timeout_micros { value: 200000 } num_batch_threads { "
        "value: 2 } max_enqueued_batches { value: 100 } allowed_batch_sizes: 4 "
        "allowed_batch_sizes: 8"
    )
    flags = {"enable_batching": True, "batching_parameters_file": str(path)}
    with running(request.param, model_base_path=str(base_path), **flags) as server:
        yield server.target


def test_batch_is_padded_and_cut_back(batching_target):
    response = ask(batching_target, inputs={"image_bytes": [b"1", b"22", b"333"]})
    assert [caption.decode() for caption in response.outputs["caption"].string_val] == [
        "an image of 1 bytes",
        "an image of 2 bytes",
        "an image of 3 bytes",
    ]
    assert [dim.size for dim in response.outputs["tokens"].tensor_shape.dim] == [3, 3, 5]


@pytest.mark.parametrize(
    "inputs, details",
    [
        ({"image_bytes": [b"x"] * 9}, "Task size 9 is larger than maximum input batch size 8"),
        ({"image_bytes": b"x"}, "Batching Run() input tensors must have at least one dimension"),
    ],
)
def test_what_can_not_be_batched(batching_target, inputs, details):
    assert asked_in_vain(batching_target, inputs=inputs) == ("INVALID_ARGUMENT", details)


def test_bad_image_fails_its_batch_unless_the_graph_catches_it(batching_target):
    rows = [b"1", b"22", b"bad", b"4444", b"55555", b"bad bad"]
    with ThreadPoolExecutor(6) as pool:
        caught = list(
            pool.map(lambda row: ask(batching_target, inputs={"image_bytes": [row]}), rows)
        )
        # `raises` decodes without a net: the one row that is no image takes the good ones down
        rows = [PIXEL, PIXEL, b"bad", PIXEL]
        fallen = list(
            pool.map(
                lambda row: asked_in_vain(
                    batching_target, inputs={"image_bytes": [row]}, signature="raises"
                ),
                rows,
            )
        )
    errors = [response.outputs["error"].string_val[0] for response in caught]
    assert errors == [b"", b"", b"not an image", b"", b"", b"not an image"]
    assert first_caption(caught[3]) == "an image of 4 bytes"
    assert {code for code, _ in fallen} == {"INVALID_ARGUMENT"}


def test_lone_client_pays_the_timeout(batching_target):
    ask(batching_target)
    started = time.monotonic()
    ask(batching_target)
    assert time.monotonic() - started >= 0.2


def http(url: str, body: object = None) -> tuple[int, str]:
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(f"http://{url}", data, timeout=20) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture(scope="module", params=KINDS)
def rest(request, base_path) -> Iterator[Running]:
    """A server with its REST address."""
    with running(request.param, model_base_path=str(base_path)) as server:
        yield server


FOUR = {"b64": base64.b64encode(b"four").decode()}


def test_rest_rows(rest):
    for instance in (FOUR, {"image_bytes": FOUR}):  # a single input needs no name
        status, text = http(
            f"{rest.http}/v1/models/imgcap:predict", {"instances": [instance, instance]}
        )
        rows = json.loads(text)["predictions"]
        assert status == 200 and [row["caption"] for row in rows] == ["an image of 4 bytes"] * 2
        assert (
            rows[0]["captions"][1] == "an image of 4 bytes or so" and len(rows[0]["tokens"][0]) == 5
        )


def test_rest_columns_versions_and_signatures(rest):
    body = {"inputs": {"image_bytes": [FOUR]}, "signature_name": "decode"}
    for where in ("imgcap", "imgcap/versions/1"):
        status, text = http(f"{rest.http}/v1/models/{where}:predict", body)
        assert status == 200 and json.loads(text)["outputs"]["caption"] == ["an image of 4 bytes"]
    body = {"instances": ["x"], "signature_name": "describe"}  # a single output stands alone
    status, text = http(f"{rest.http}/v1/models/imgcap:predict", body)
    assert json.loads(text) == {"predictions": ['{"word": "an"}']}


@pytest.mark.parametrize(
    "path, body, status, error",
    [
        (
            "nope:predict",
            {"instances": [FOUR]},
            404,
            "Servable not found for request: Latest(nope)",
        ),
        (
            "imgcap/versions/9:predict",
            {"instances": [FOUR]},
            404,
            "Servable not found for request: Specific(imgcap, 9)",
        ),
        (
            "imgcap/labels/x:predict",
            {"instances": [FOUR]},
            400,
            "Unrecognized servable version label: x",
        ),
        ("imgcap:predict", {"rows": [FOUR]}, 400, "Missing 'inputs' or 'instances' key"),
        ("imgcap:predict", b"{", 400, "JSON Parse error: "),
        (
            "imgcap:predict",
            {"instances": [FOUR], "signature_name": "bogus"},
            400,
            'Serving signature name: "bogus" not found in signature def',
        ),
        ("imgcap:predict", None, 400, "Malformed request: GET /v1/models/imgcap:predict"),
        ("nope", None, 404, "Could not find any versions of model nope"),
    ],
)
def test_rest_refuses(rest, path, body, status, error):
    code, text = http(f"{rest.http}/v1/models/{path}", body)
    assert code == status and json.loads(text)["error"].startswith(error)


def test_rest_status_and_metadata(rest):
    status, text = http(f"{rest.http}/v1/models/imgcap")
    assert status == 200 and json.loads(text)["model_version_status"] == [
        {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    ]
    metadata = json.loads(http(f"{rest.http}/v1/models/imgcap/metadata")[1])
    assert metadata["model_spec"]["version"] == "1"
    decode = metadata["metadata"]["signature_def"]["signature_def"]["decode"]
    assert decode["inputs"]["image_bytes"]["dtype"] == "DT_STRING"


def test_prometheus(rest):
    ask(rest.target)
    asked_in_vain(rest.target, signature="bogus")
    status, text = http(f"{rest.http}/monitoring/prometheus/metrics")
    assert status == 200
    assert "# TYPE :tensorflow:serving:request_count counter" in text
    assert ':tensorflow:serving:request_count{model_name="imgcap",status="OK"} ' in text
    assert (
        ':tensorflow:serving:request_count{model_name="imgcap",status="FAILED_PRECONDITION"} '
        in text
    )
    for part in ("count", "bucket", "sum"):
        labels = 'model_name="imgcap",API="Predict",entrypoint="GRPC"'
        assert f":tensorflow:serving:request_latency_{part}{{{labels}" in text
