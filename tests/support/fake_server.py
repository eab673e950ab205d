"""Small hand-made model servers, so that each answer and each failure is known beforehand."""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc

from serving.wire import wire_pb2

Answer = Callable[[wire_pb2.PredictRequest, grpc.ServicerContext], wire_pb2.PredictResponse]
Status = Callable[
    [wire_pb2.GetModelStatusRequest, grpc.ServicerContext], wire_pb2.GetModelStatusResponse
]


@contextmanager
def serving(
    answer: Answer,
    port: int = 0,
    host: str = "127.0.0.1",
    version: int = 4,
    status: Status | None = None,
) -> Iterator[str]:
    """A server whose Predict is `answer`, of a model of that version; yields its address."""
    server, target = start_server(answer, port, host, version, status)
    try:
        yield target
    finally:
        server.stop(0).wait()


def start_server(
    answer: Answer,
    port: int = 0,
    host: str = "127.0.0.1",
    version: int = 4,
    status: Status | None = None,
) -> tuple[grpc.Server, str]:
    """Starts such a server and returns it with its address; without `status` it has none."""
    handler = grpc.unary_unary_rpc_method_handler(
        answer, wire_pb2.PredictRequest.FromString, wire_pb2.PredictResponse.SerializeToString
    )
    metadata = wire_pb2.GetModelMetadataResponse()
    metadata.model_spec.version.value = version
    described = grpc.unary_unary_rpc_method_handler(
        lambda request, context: metadata,
        wire_pb2.GetModelMetadataRequest.FromString,
        wire_pb2.GetModelMetadataResponse.SerializeToString,
    )
    services = {"PredictionService": {"Predict": handler, "GetModelMetadata": described}}
    if status is not None:
        told = grpc.unary_unary_rpc_method_handler(
            status,
            wire_pb2.GetModelStatusRequest.FromString,
            wire_pb2.GetModelStatusResponse.SerializeToString,
        )
        services["ModelService"] = {"GetModelStatus": told}
    server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers(
        tuple(
            grpc.method_handlers_generic_handler(f"tensorflow.serving.{name}", methods)
            for name, methods in services.items()
        )
    )
    port = server.add_insecure_port(f"{host}:{port}")
    server.start()
    return server, f"{host}:{port}"


def states_of(states: Mapping[int, str]) -> wire_pb2.GetModelStatusResponse:
    """The state of each version, such as AVAILABLE."""
    values = wire_pb2.ModelVersionStatus.State
    return wire_pb2.GetModelStatusResponse(
        model_version_status=[
            wire_pb2.ModelVersionStatus(version=version, state=values.Value(state))
            for version, state in states.items()
        ]
    )


def numbers(values: list[float], *shape: int) -> wire_pb2.TensorProto:
    dims = [wire_pb2.TensorShapeProto.Dim(size=size) for size in shape]
    return wire_pb2.TensorProto(
        dtype=wire_pb2.DT_FLOAT, tensor_shape=wire_pb2.TensorShapeProto(dim=dims), float_val=values
    )


def integers(values: list[int], *shape: int) -> wire_pb2.TensorProto:
    tensor = numbers([], *shape)
    tensor.dtype = wire_pb2.DT_INT32
    tensor.int_val.extend(values)
    return tensor


def strings(values: list[str], *shape: int) -> wire_pb2.TensorProto:
    tensor = numbers([], *shape)
    tensor.dtype = wire_pb2.DT_STRING
    tensor.string_val.extend(value.encode() for value in values)
    return tensor


def answer_for(
    text: str, error: str = "", confidence: tuple[float, float] | None = None
) -> wire_pb2.PredictResponse:
    """The answer of a captioner, and of one that is calibrated if there are confidences."""
    response = wire_pb2.PredictResponse(
        outputs={
            "caption": strings([text], 1),
            "score": numbers([-0.5], 1),
            "captions": strings([text, "second"], 1, 2),
            "scores": numbers([-0.5, -0.75], 1, 2),
            "tokens": integers([5, 6, 3, 7, 3, 0], 1, 2, 3),
            "token_log_probs": numbers([-0.25, -0.5, -0.125, -1.0, -2.0, 0.0], 1, 2, 3),
            "error": strings([error], 1),
        }
    )
    if confidence is not None:
        response.outputs["confidence"].CopyFrom(numbers(list(confidence), 1, 2))
    response.model_spec.version.value = 4
    return response


def length_of(
    request: wire_pb2.PredictRequest, context: grpc.ServicerContext
) -> wire_pb2.PredictResponse:
    """Answers the number of bytes; rows that start with "bad" get an error."""
    row = request.inputs["image_bytes"].string_val[0]
    return answer_for(str(len(row)), error="not an image" if row.startswith(b"bad") else "")


def failing(code: grpc.StatusCode, details: str, times: int = 10**9) -> tuple[Answer, list[float]]:
    """An answer that fails so many times, and the list of the moments it was asked."""
    asked: list[float] = []

    def answer(
        request: wire_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> wire_pb2.PredictResponse:
        asked.append(time.monotonic())
        if len(asked) <= times:
            context.abort(code, details)
        return answer_for("at last")

    return answer, asked
