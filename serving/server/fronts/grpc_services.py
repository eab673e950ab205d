"""TensorFlow Serving's gRPC services on the models of this process, with its codes and texts."""

import logging
import time
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2,
    prediction_service_pb2,
)

from serving.server.metrics import Metrics
from serving.server.models.calls import Api
from serving.server.models.examples import CLASSIFY, MULTI_INFERENCE, REGRESS
from serving.server.models.model_list import Models
from serving.server.models.predict import PREDICT
from serving.server.predictor import Predictor
from serving.server.request_error import RequestError, invalid
from serving.wire.tensors import METADATA_FIELD

_MAX_DETAILS = 1024  # characters
_NO_MESSAGE = object()

log = logging.getLogger(__name__)


def answers(method: Callable) -> Callable:
    """Wraps a service's method: counts and logs calls, and makes an error the call's status."""

    @wraps(method)
    def call(self: "_Service", request: Any, context: grpc.ServicerContext) -> Any:
        if request is _NO_MESSAGE:
            context.abort(grpc.StatusCode.INTERNAL, "")
        started = time.monotonic()
        try:
            response = method(self, request, context)
        except RequestError as error:
            self.count(method.__name__, request, error.code, error.details, started)
            context.abort(error.code, shorten(error.details))
        except Exception as error:
            # A fault of this server; gRPC alone would say "Exception calling application".
            log.exception("%s failed", method.__name__)
            details = f"{type(error).__name__}: {error}"
            self.count(method.__name__, request, grpc.StatusCode.INTERNAL, details, started)
            context.abort(grpc.StatusCode.INTERNAL, shorten(details))
        self.count(method.__name__, request, grpc.StatusCode.OK, "", started)
        return response

    return call


def shorten(details: str) -> str:
    """Cuts the text of a status as the real server does (model_servers/grpc_status_util.cc)."""
    return details if len(details) <= _MAX_DETAILS else details[:_MAX_DETAILS] + "...TRUNCATED"


class _Service:
    """The parts that both services share.

    Attributes:
        descriptor: names the service and its methods, and the types of their messages.
        counted: names of the methods that are counted as requests.
        models: the models that requests name.
    """

    descriptor: ServiceDescriptor
    counted: tuple[str, ...] = ()

    def __init__(self, models: Models, metrics: Metrics, log_requests: bool) -> None:
        self.models, self._metrics, self._log_requests = models, metrics, log_requests

    def handler(self) -> grpc.GenericRpcHandler:
        """Makes the service for `grpc.Server.add_generic_rpc_handlers`.

        The generated code would answer bytes that are no message with words of its own.
        """
        methods = {
            method.name: grpc.unary_unary_rpc_method_handler(
                getattr(self, method.name),
                request_deserializer=partial(_read, GetMessageClass(method.input_type)),
                response_serializer=GetMessageClass(method.output_type).SerializeToString,
            )
            for method in self.descriptor.methods
        }
        return grpc.method_handlers_generic_handler(self.descriptor.full_name, methods)

    def count(
        self, api: str, request: Any, code: grpc.StatusCode, details: str, started: float
    ) -> None:
        """Counts a call and, on demand, logs it, without anything that was sent.

        Args:
            api: name of the method.
            request: the request, of which only the model's name is read.
            code: status of the call.
            details: text of the status.
            started: when it came, on the monotonic clock.
        """
        name = request.model_spec.name if hasattr(request, "model_spec") else ""
        if api in self.counted:
            # Names come from strangers: only those of models become series, since the table must
            # not grow without end.
            self._metrics.request_count.add(name if self.models.knows(name) else "", code.name)
        if self._log_requests:
            milliseconds = round(1e3 * (time.monotonic() - started), 1)
            log.info(
                "%s %s %.1f ms",
                api,
                code.name,
                milliseconds,
                extra={
                    "api": api,
                    "model": name,
                    "status": code.name,
                    "milliseconds": milliseconds,
                    **({"details": details[:200]} if details else {}),
                },
            )


class PredictionService(_Service):
    """The service that runs models and tells their signatures."""

    descriptor = prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"]
    counted = ("Predict", "Classify", "Regress", "MultiInference")

    def __init__(
        self, models: Models, predictor: Predictor, metrics: Metrics, log_requests: bool
    ) -> None:
        super().__init__(models, metrics, log_requests)
        self._predictor = predictor

    @answers
    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._run(PREDICT, request, context)

    @answers
    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != METADATA_FIELD:
                raise invalid(f"Metadata field {field} is not supported")
        servable = self.models.find(request.model_spec)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = servable.version
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=servable.signature_defs)
        response.metadata[METADATA_FIELD].Pack(signatures)
        return response

    @answers
    def Classify(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._run(CLASSIFY, request, context)

    @answers
    def Regress(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._run(REGRESS, request, context)

    @answers
    def MultiInference(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._run(MULTI_INFERENCE, request, context)

    def _run(self, api: Api, request: Any, context: grpc.ServicerContext) -> Any:
        return self._predictor.answer(
            api, request, context.time_remaining(), "GRPC", lambda: not context.is_active()
        )


class ModelService(_Service):
    """The service for the state of the server's models, and for a new list of them."""

    descriptor = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"]

    @answers
    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        return get_model_status_pb2.GetModelStatusResponse(
            model_version_status=self.models.statuses(request.model_spec)
        )

    @answers
    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only "
                "ModelConfigList is currently supported"
            )
        self.models.reload(request.config.model_config_list, context.time_remaining())
        return model_management_pb2.ReloadConfigResponse()


def _read(message: type[Message], data: bytes) -> Message | object:
    """Reads a request; `_NO_MESSAGE` stands for bytes that are none."""
    try:
        return message.FromString(data)
    except DecodeError:
        return _NO_MESSAGE
