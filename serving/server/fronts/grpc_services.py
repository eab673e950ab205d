"""TensorFlow Serving's gRPC services on the models of this process, with its codes and texts."""

import logging
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

import grpc
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from imgcap.signature import SERVING_DEFAULT
from serving.server.metrics import Metrics
from serving.server.models.model_list import Models
from serving.server.models.servable import Servable
from serving.server.predictor import Predictor
from serving.server.request_error import RequestError, invalid
from serving.wire.tensors import METADATA_FIELD

_MAX_DETAILS = 1024  # characters

log = logging.getLogger(__name__)


def answers(method: Callable) -> Callable:
    """Wraps a service's method: counts and logs calls, and makes an error the call's status."""

    @wraps(method)
    def call(self: "_Service", request: Any, context: grpc.ServicerContext) -> Any:
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
        counted: names of the methods that are counted as requests.
        models: the models that requests name.
    """

    counted: tuple[str, ...] = ()

    def __init__(self, models: Models, metrics: Metrics, log_requests: bool) -> None:
        self.models, self._metrics, self._log_requests = models, metrics, log_requests

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


class PredictionService(_Service, prediction_service_pb2_grpc.PredictionServiceServicer):
    """The service that runs models: Predict and GetModelMetadata; the others refuse captioners."""

    counted = ("Predict", "Classify", "Regress", "MultiInference")

    def __init__(
        self, models: Models, predictor: Predictor, metrics: Metrics, log_requests: bool
    ) -> None:
        super().__init__(models, metrics, log_requests)
        self._predictor = predictor

    @answers
    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._predictor.predict(
            request, context.time_remaining(), "GRPC", lambda: not context.is_active()
        )

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
        raise _no_classifier(
            _task_signature(self._find(request), request.model_spec.signature_name)
        )

    @answers
    def Regress(self, request: Any, context: grpc.ServicerContext) -> Any:
        raise _no_regressor(_task_signature(self._find(request), request.model_spec.signature_name))

    @answers
    def MultiInference(self, request: Any, context: grpc.ServicerContext) -> Any:
        if not request.tasks:
            raise invalid("ModelSpec has no name specified.")
        task = request.tasks[0]
        servable = self.models.find(task.model_spec)
        name = task.model_spec.signature_name or SERVING_DEFAULT
        if name not in servable.signature_defs:
            raise invalid(f"Requested signature not found in model graph: {name}")
        if task.method_name == "tensorflow/serving/classify":
            raise _no_classifier(servable.signature_defs[name])
        if task.method_name == "tensorflow/serving/regress":
            raise _no_regressor(servable.signature_defs[name])
        raise RequestError(
            grpc.StatusCode.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}"
        )

    def _find(self, request: Any) -> Servable:
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        return self.models.find(request.model_spec)


class ModelService(_Service, model_service_pb2_grpc.ModelServiceServicer):
    """The service for the state of the server's models, and for a new list of them."""

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


def _task_signature(servable: Servable, name: str) -> SignatureDef:
    name = name or SERVING_DEFAULT
    if name not in servable.signature_defs:
        raise invalid(f"No signature was found with the name: {name}")
    return servable.signature_defs[name]


def _no_classifier(signature: SignatureDef) -> RequestError:
    """The error of a signature that is no classifier.

    A classifier would take `tf.Example` rows under the alias `inputs`.
    """
    if len(signature.inputs) != 1:
        return invalid("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        return invalid(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    return _no_inputs("classification", signature)


def _no_regressor(signature: SignatureDef) -> RequestError:
    if len(signature.inputs) != 1:
        return invalid("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        return invalid("Expected one output Tensor.")
    return _no_inputs("regression", signature)


def _no_inputs(task: str, signature: SignatureDef) -> RequestError:
    return RequestError(
        grpc.StatusCode.FAILED_PRECONDITION, f"No {task} inputs found in SignatureDef: {signature}"
    )
