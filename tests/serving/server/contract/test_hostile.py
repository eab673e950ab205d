"""Requests that would cost far more than their bytes: refused, and others are served."""

import json
import random
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub
from tensorflow_serving.apis.regression_pb2 import RegressionRequest

from serving.server.local_server import LocalServer, ServerOptions
from serving.server.models.examples import parse_classify, parse_regress
from serving.server.models.messages import check_readable, check_size, to_tensor, to_tensor_proto
from serving.server.models.model_list import one_model
from serving.server.models.predict import parse_predict
from serving.server.models.servable import LoadError, Servable
from serving.server.queue.options import BatchingOptions
from serving.server.request_error import RequestError
from tests.serving.server.contract.parcel_model import NAME
from tests.serving.server.contract.requests import (
    FLOAT,
    INT64,
    RESOURCE,
    STRING,
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

PHOTO = b"photo" * 8000
MAX_TASK_SIZE = 8


@pytest.fixture
def model(models_config, tmp_path) -> Path:
    """The folder of a version that a test may change."""
    return Path(shutil.copytree(models_config.parent / NAME / "1", tmp_path / "1"))


@pytest.fixture(params=[False, True], ids=["alone", "batched"], scope="module")
def batched(request) -> bool:
    return request.param


@pytest.fixture(scope="module")
def prediction(batched, models_config) -> Iterator[PredictionServiceStub]:
    batching = BatchingOptions(max_batch_size=MAX_TASK_SIZE) if batched else None
    options = ServerOptions(batching=batching)
    with (
        LocalServer(one_model(models_config.parent / NAME, NAME), options) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        yield PredictionServiceStub(channel)


REFUSED = {
    "201 dimensions": (tensor(STRING, *[1] * 201, string_val=[b"a"]), "parcel has 201 dimensions"),
    "254 dimensions": (tensor(STRING, *[1] * 254, string_val=[b"a"]), "parcel has 254 dimensions"),
    "1,000 rows": (
        tensor(STRING, 1000, string_val=[b"x"]),
        "parcel declares 1000 values and holds 1",
    ),
    "1,000,000 rows": (
        tensor(STRING, 10**6, string_val=[b"x"]),
        "parcel declares 1000000 values and holds 1",
    ),
    "1,000,000,000 rows": (
        tensor(STRING, 10**9, string_val=[b"x"]),
        "parcel declares 1000000000 values and holds 1",
    ),
    "2^62 rows of nothing": (
        tensor(STRING, 2**62),
        "parcel declares 4611686018427387904 values and holds 0",
    ),
    "a photo 1,000 times": (
        tensor(STRING, 1000, string_val=[PHOTO]),
        "parcel declares 1000 values and holds 1",
    ),
    "a photo 20 times": (
        tensor(STRING, 20, string_val=[PHOTO]),
        "parcel declares 20 values and holds 1",
    ),
    "rows that are empty": (tensor(STRING, 10**9, 0), "parcel declares the shape [1000000000, 0]"),
    "no row of a billion": (tensor(STRING, 0, 10**9), "parcel declares the shape [0, 1000000000]"),
    "no row of a million by a million": (
        tensor(STRING, 0, 10**6, 10**6),
        "parcel declares the shape [0, 1000000, 1000000]",
    ),
}


def test_refused_and_others_are_served(prediction, batched):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, (proto, text) in REFUSED.items():
        with pytest.raises(grpc.RpcError) as caught:
            prediction.Predict(predict(parcel=proto), timeout=20)
        code, details = refusal(caught.value)
        rows = proto.tensor_shape.dim[0].size
        if batched and rows > MAX_TASK_SIZE:  # which batching looks at first
            text = f"Task size {rows} is larger than maximum input batch size {MAX_TASK_SIZE}"
        assert code == "INVALID_ARGUMENT" and details.startswith(text), name
        good = prediction.Predict(predict(parcel=parcels(b"abc")), timeout=20)
        assert read(good) == weighed(b"abc")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.parametrize("dimensions", [33, 64, 200])
def test_many_dimensions_with_and_without_batches(prediction, dimensions):
    proto = tensor(STRING, *[1] * dimensions, string_val=[b"abc"])
    answer = prediction.Predict(predict(parcel=proto), timeout=20)
    assert read(answer) == weighed(b"abc", shape=(1,) * dimensions)


def test_signature_that_gives_no_tensor(prediction):
    with pytest.raises(grpc.RpcError) as caught:
        prediction.Predict(predict("__saved_model_init_op"), timeout=20)
    code, details = refusal(caught.value)
    assert code == "INVALID_ARGUMENT" and details.count("\n") == 0


@pytest.fixture(scope="module")
def servable(models_config) -> Servable:
    return Servable(models_config.parent / NAME / "2")


def refusal_of(check, *arguments) -> str:
    with pytest.raises(RequestError) as caught:
        check(*arguments)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    return caught.value.details


# The last value may stand for 4,096 bytes, a string counting 24 more than its length, or for 16
# times the bytes of the message.
FILLED = {
    "strings of 2 bytes": (dict(dtype=STRING, string_val=[b"ab"]), 1 + 4096 // 26),
    "no strings": (dict(dtype=STRING), 4096 // 24),
    "floats": (dict(dtype=FLOAT, float_val=[1.0]), 1 + 4096 // 4),
    "integers": (dict(dtype=INT64, int64_val=[1, 2]), 2 + 4096 // 8),
    "photos": (dict(dtype=STRING, string_val=[PHOTO]), 16),
}


@pytest.mark.parametrize("name", FILLED)
def test_last_value_stands_for_few(name):
    fields, most = FILLED[name]
    proto = tensor(fields["dtype"], most)
    proto.MergeFrom(TensorProto(**fields))
    check_size("x", proto)
    assert len(to_tensor("x", proto)) == most
    proto.tensor_shape.dim[0].size = most + 2
    assert refusal_of(check_size, "x", proto).startswith(f"x declares {most + 2} values and holds")


def test_every_input_of_every_signature_is_checked(servable):
    one = {"weight": tensor(FLOAT, 1, float_val=[1.0]), "count": tensor(INT64, 1, int64_val=[1])}
    for alias, proto in one.items():
        many = tensor(proto.dtype, 10**9)
        text = refusal_of(parse_predict, servable, predict("blend", **(one | {alias: many})))
        assert text.startswith(f"{alias} declares 1000000000 values")
    deep = tensor(FLOAT, *[1] * 255, float_val=[1.0])
    for name, signature in servable.signature_defs.items():
        if signature.inputs:
            request = predict(name, **dict.fromkeys(signature.inputs, deep))
            text = refusal_of(parse_predict, servable, request)
            assert text == f"tensor parsing error: {min(signature.inputs)}"


def test_default_of_a_signature_is_checked(models_config):
    servable = Servable(models_config.parent / NAME / "1")
    default = servable.signature_defs["blend"].defaults["count"]
    default.CopyFrom(tensor(INT64, 10**9, int64_val=[1]))
    request = predict("blend", weight=tensor(FLOAT, 1, float_val=[1.0]))
    assert "count declares 1000000000 values" in refusal_of(parse_predict, servable, request)


@pytest.mark.parametrize("dtype", [RESOURCE, VARIANT])
def test_handle_is_refused_even_if_a_signature_asks_for_it(dtype):
    proto = tensor(dtype, 1)
    check_readable("x", proto)
    assert refusal_of(check_size, "x", proto) == "tensor parsing error: x"


def test_context_is_not_copied_without_end(servable):
    request = RegressionRequest(model_spec=spec(signature_name="price"))
    given = request.input.example_list_with_context
    given.context.features.feature["n"].bytes_list.value.append(b"x" * 2**20)
    given.examples.extend([type(example(0))()] * 100)
    text = refusal_of(parse_regress, servable, request)
    assert text.startswith("100 examples share a context of 10485")


def test_rows_beyond_those_of_an_export(model):
    (model / "manifest.json").write_text(json.dumps({"max_batch": 4}))
    servable = Servable(model)
    text = "assertion failed: [{} has {} rows, this model takes at most 4 at a time: send fewer]"
    assert len(parse_predict(servable, predict(parcel=parcels(*[b"a"] * 4))).inputs["parcel"]) == 4
    many = tensor(STRING, 10**9, string_val=[b"a"])
    assert refusal_of(parse_predict, servable, predict(parcel=many)) == text.format("parcel", 10**9)
    inputs = {"weight": tensor(FLOAT, 1, float_val=[1.0]), "count": tensor(INT64, 5)}
    assert refusal_of(parse_predict, servable, predict("blend", **inputs)) == text.format(
        "count", 5
    )
    request = ClassificationRequest(model_spec=spec(signature_name="sort"))
    request.input.example_list.examples.extend([example(0.5)] * 5)
    assert refusal_of(parse_classify, servable, request) == text.format("inputs", 5)


@pytest.mark.parametrize("value", [[], {"max_batch": 0}, {"max_batch": "4"}, {"cpu_features": 1}])
def test_manifest_of_another_form_is_refused(model, value):
    (model / "manifest.json").write_text(json.dumps(value))
    with pytest.raises(LoadError, match="not a manifest of imgcap-export"):
        Servable(model)


def write_warmup(model: Path, *logs: PredictionLog) -> None:
    path = model / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in logs:
            writer.write(log.SerializeToString())


def logged(**request) -> PredictionLog:
    log = PredictionLog()
    for kind, message in request.items():
        getattr(log, kind).request.CopyFrom(message)
    return log


def test_warmup_of_every_kind(model):
    sort = ClassificationRequest(model_spec=spec(signature_name="sort"))
    price = RegressionRequest(model_spec=spec(signature_name="price"))
    for request in (sort, price):
        request.input.example_list.examples.append(example(0.5))
    write_warmup(
        model,
        logged(predict_log=predict(parcel=parcels(b"a"))),
        logged(classify_log=sort),
        logged(regress_log=price),
        PredictionLog(),
    )
    assert Servable(model).warmup_seconds is not None


WARMUPS = {
    "a billion rows": (
        [logged(predict_log=predict(parcel=tensor(STRING, 10**9, string_val=[b"a"])))],
        "parcel declares 1000000000 values",
    ),
    "255 dimensions": (
        [logged(predict_log=predict(parcel=tensor(STRING, *[1] * 255, string_val=[b"a"])))],
        "tensor parsing error: parcel",
    ),
    "no examples": (
        [logged(regress_log=RegressionRequest(model_spec=spec(signature_name="price")))],
        "Input is empty.",
    ),
    "a session's run": (
        [PredictionLog(session_run_log={})],
        "Unsupported log_type for warmup: session_run_log",
    ),
    "1,001 requests": ([PredictionLog()] * 1001, "more than 1000 requests"),
}


@pytest.mark.parametrize("name", WARMUPS)
def test_warmup_that_is_refused(model, name):
    logs, text = WARMUPS[name]
    write_warmup(model, *logs)
    with pytest.raises(LoadError) as caught:
        Servable(model)
    assert text in str(caught.value) and "\n" not in str(caught.value)


FIELDS = {
    "float_val": [1.0, -2.0],
    "double_val": [1.0],
    "int_val": [1, 300, -1],
    "int64_val": [1, 2**60],
    "bool_val": [True],
    "half_val": [15360, 7, 70000],
    "uint32_val": [7],
    "uint64_val": [2**63],
    "scomplex_val": [1.0, 2.0, 3.0],
    "dcomplex_val": [1.0],
    "string_val": [b"abc", b""],
}


def random_tensor(draw: random.Random) -> TensorProto:
    """A message of any type, with a shape, fields and content that seldom fit together."""
    sizes = draw.choices(
        [0, 1, 2, 3, 5, -1, 2**31, 2**62], [2, 8, 6, 4, 2, 1, 1, 1], k=draw.choice([0, 1, 2, 3])
    )
    proto = tensor(draw.choice([*range(0, 24), 77, 107]), *sizes)
    for field in draw.sample(sorted(FIELDS), draw.choice([0, 1, 1, 2])):
        getattr(proto, field).extend(FIELDS[field][: draw.choice([1, 2, 3])])
    if draw.random() < 0.4:
        proto.tensor_content = draw.randbytes(draw.choice([1, 2, 4, 6, 8, 12, 16, 24]))
    return proto


def test_what_tensorflow_reads_is_read_and_nothing_else():
    """TensorFlow's own reader is the oracle; it is asked only for what is small or impossible."""
    draw, read_at_all, quantized = random.Random(0), 0, {11, 12, 13, 15, 16}
    for _ in range(1500):
        proto = random_tensor(draw)
        if proto.dtype in (0, 77, 107, RESOURCE, VARIANT) or proto.dtype in quantized:
            continue
        try:
            check_readable("x", proto)
        except RequestError:
            with pytest.raises(tf.errors.OpError):
                tf.io.parse_tensor(proto.SerializeToString(), tf.as_dtype(proto.dtype))
            continue
        try:
            check_size("x", proto)
            values = to_tensor("x", proto)
        except RequestError as error:
            ours = "declares" in error.details or "32-bit" in error.details
            assert ours or (proto.dtype == STRING and proto.tensor_content)
            continue
        read_at_all += 1
        assert list(values.shape) == [dim.size for dim in proto.tensor_shape.dim]
        oracle = tf.io.parse_tensor(proto.SerializeToString(), tf.as_dtype(proto.dtype)).numpy()
        np.testing.assert_array_equal(values, oracle)
        again = to_tensor("x", to_tensor_proto(values))
        assert again.dtype == values.dtype
        np.testing.assert_array_equal(again, values)
    assert read_at_all > 300


NO_EXAMPLES = {
    "no text": bytes.fromhex("0a0f0a0d0a016ea10812060a0400000040"),
    "100,000 spaces": b"\xff" + b" " * 100_000,
    "marks of the runtime": b"\xff" + b"[Op:" * 10_000,
}


@pytest.mark.parametrize("name", NO_EXAMPLES)
def test_error_that_quotes_the_request(prediction, name):
    started = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        prediction.Predict(predict("price", inputs=parcels(NO_EXAMPLES[name])), timeout=20)
    code, details = refusal(caught.value)
    assert code == "INVALID_ARGUMENT" and "parse" in details and time.monotonic() - started < 5
