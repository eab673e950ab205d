"""Questions over gRPC, each with the answer that TensorFlow Serving 2.20 gives."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tests.serving.server.contract.parcel_model import NAME

FLOAT, STRING = 1, 7


@pytest.fixture(scope="module")
def channel(parcels) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(parcels.target) as channel:
        yield channel


@pytest.fixture(scope="module")
def prediction(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def tensor(dtype: int, shape: tuple[int, ...], **fields: Any) -> TensorProto:
    """A tensor's message with these fields, whether they fit the shape or not."""
    proto = TensorProto(dtype=dtype, **fields)
    for size in shape:
        proto.tensor_shape.dim.add().size = size
    return proto


def predict_request(signature: str = "", **inputs: TensorProto) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest(inputs=inputs)
    request.model_spec.name, request.model_spec.signature_name = NAME, signature
    return request


def test_plain_question(prediction):
    request = predict_request(parcel=tensor(STRING, (2,), string_val=[b"ab", b"cde"]))
    answer = prediction.Predict(request, timeout=20)
    assert answer.model_spec.version.value == 2
    assert list(answer.outputs["label"].string_val) == [b"weighs 2", b"weighs 3"]
    assert list(answer.outputs["pair"].float_val) == [2.0, 2.0, 3.0, 2.0]
    assert list(answer.outputs["tail_bytes"].string_val) == [b"ab", b"de"]
