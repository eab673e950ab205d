"""TensorFlow Serving's REST API on the models of this process.

It is for `curl` and for dashboards; the client speaks gRPC. Paths and texts are those of
model_servers/http_rest_api_handler.cc and http_rest_api_util.cc.
"""

import logging
import re
from http import HTTPStatus
from typing import Any

import grpc
from google.protobuf.message import Message
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
from tensorflow_serving.apis.get_model_metadata_pb2 import SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.regression_pb2 import RegressionRequest

from imgcap.signature import SERVING_DEFAULT
from serving.server.fronts.http.messages import Request, Response
from serving.server.fronts.rest import answers
from serving.server.fronts.rest.examples import input_of_query
from serving.server.fronts.rest.json_excerpt import value_text
from serving.server.fronts.rest.json_text import JsonObject, Missing, read_json
from serving.server.fronts.rest.tensors import (
    TensorMap,
    tensors_of_inputs,
    tensors_of_instances,
)
from serving.server.models.calls import Api
from serving.server.models.examples import CLASSIFY, REGRESS
from serving.server.models.model_list import Models
from serving.server.models.predict import PREDICT
from serving.server.predictor import Predictor
from serving.server.request_error import RequestError, invalid

log = logging.getLogger(__name__)

_API = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
_VERSION = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_POST = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<action>classify|regress|predict)", re.IGNORECASE
)
_GET = re.compile(
    rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?:/(?P<action>metadata))?", re.IGNORECASE
)
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_HTTP_STATUS = {
    grpc.StatusCode.CANCELLED: 499,  # what others call "client closed request"
    grpc.StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.OUT_OF_RANGE: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    grpc.StatusCode.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    grpc.StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    grpc.StatusCode.ABORTED: HTTPStatus.CONFLICT,
    grpc.StatusCode.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    grpc.StatusCode.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    grpc.StatusCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
}
_NOT_FOUND = (
    b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n"
    b"</BODY></HTML>\n"
)


class Rest:
    """Answers HTTP requests about the models of a server."""

    def __init__(self, models: Models, predictor: Predictor) -> None:
        self._models, self._predictor = models, predictor

    def answer(self, request: Request) -> Response:
        """Answers one request; any number of threads may ask at a time.

        Args:
            request: a request of any method and path.
        """
        if _API.fullmatch(request.target) is None:
            return Response(HTTPStatus.NOT_FOUND, "text/html", _NOT_FOUND)
        try:
            return _json(HTTPStatus.OK, self._answer(request))
        except _BadVersion:
            # The real server forgets to write the text here.
            return _json(HTTPStatus.BAD_REQUEST, b"")
        except RequestError as error:
            status = _HTTP_STATUS.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)
            return _json(status, answers.error_text(error.details))
        except Exception as error:  # a fault of this server
            log.exception("%s %s failed", request.method, request.target)
            text = answers.error_text(f"{type(error).__name__}: {error}")
            return _json(HTTPStatus.INTERNAL_SERVER_ERROR, text)

    def _answer(self, request: Request) -> bytes:
        pattern = {"POST": _POST, "GET": _GET}.get(request.method)
        match = pattern.fullmatch(request.target) if pattern else None
        if match is None:
            raise _malformed(request)
        spec = _model_spec(match)
        action = match["action"]
        if action == "predict":
            return self._predict(spec, request)
        if action == "classify":
            return self._classify(spec, request)
        if action == "regress":
            return self._regress(spec, request)
        if request.method == "POST":  # a verb in capitals
            raise _malformed(request)
        if not spec.name:
            raise invalid("Missing model name in request.")
        if action == "metadata":
            return self._metadata(spec)
        return answers.status_text(
            GetModelStatusResponse(model_version_status=self._models.statuses(spec))
        )

    def _predict(self, spec: ModelSpec, http: Request) -> bytes:
        query = read_query(http.body)
        read_signature_name(query, spec)
        signatures = self._models.find(spec).signature_defs
        name = spec.signature_name or SERVING_DEFAULT
        if name not in signatures:
            raise invalid(f'Serving signature name: "{name}" not found in signature def')
        inputs = dict(signatures[name].inputs)
        if not inputs:
            raise invalid(
                f"Failed to get input map for signature: {spec.signature_name or 'DEFAULT'}"
            )
        tensors, in_rows = _read_tensors(query, inputs)
        request = PredictRequest(model_spec=spec, inputs=tensors)
        outputs = self._run(PREDICT, request, http).outputs
        return answers.rows_text(outputs) if in_rows else answers.columns_text(outputs)

    def _classify(self, spec: ModelSpec, http: Request) -> bytes:
        query = read_query(http.body)
        read_signature_name(query, spec)
        request = ClassificationRequest(model_spec=spec, input=input_of_query(query))
        return answers.classification_text(self._run(CLASSIFY, request, http).result)

    def _regress(self, spec: ModelSpec, http: Request) -> bytes:
        query = read_query(http.body)
        read_signature_name(query, spec)
        request = RegressionRequest(model_spec=spec, input=input_of_query(query))
        return answers.regression_text(self._run(REGRESS, request, http).result)

    def _run(self, api: Api, request: Message, http: Request) -> Any:
        return self._predictor.answer(api, request, http.seconds, "REST", http.is_cancelled)

    def _metadata(self, spec: ModelSpec) -> bytes:
        servable = self._models.find(spec)
        signatures = SignatureDefMap(signature_def=servable.signature_defs)
        return answers.metadata_text(spec, servable.version, signatures)


class _BadVersion(Exception):
    """A version's number that 64 bits do not hold."""


def read_query(body: bytes) -> JsonObject:
    """Reads the body of a request, which must be an object of JSON.

    Raises:
        RequestError: it is no JSON, or something else.
    """
    query = read_json(body)
    if not isinstance(query, JsonObject):
        raise invalid(f"JSON Value: {value_text(query)} Is not object")
    return query


def read_signature_name(query: JsonObject, spec: ModelSpec) -> None:
    """Puts the signature that a request names, if any, into its spec.

    Raises:
        RequestError: the name is no text.
    """
    name = query.find(b"signature_name")
    if isinstance(name, Missing):
        return
    if not isinstance(name, bytes):
        raise invalid(
            f"JSON Value: {value_text(query)} not formatted correctly. 'signature_name' key must "
            "be a string value."
        )
    spec.signature_name = name.decode("utf-8", "replace")


def _read_tensors(query: JsonObject, inputs: TensorMap) -> tuple[dict, bool]:
    """Reads the inputs in either form.

    Returns:
        A tensor's message for each input, and whether they came row by row.
    """
    rows, columns = query.find(b"instances"), query.find(b"inputs")
    has_rows, has_columns = not isinstance(rows, Missing), not isinstance(columns, Missing)
    if has_rows and has_columns:
        raise _refusal(
            query,
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
        )
    if not isinstance(columns, Missing):
        return tensors_of_inputs(columns, inputs), False
    if isinstance(rows, Missing):
        raise invalid("Missing 'inputs' or 'instances' key")
    if not isinstance(rows, list):
        raise _refusal(query, "Expecting 'instances' to be an list/array")
    if not rows:
        raise _refusal(query, "No values in 'instances' array")
    return tensors_of_instances(rows, inputs), True


def _refusal(query: JsonObject, reason: str) -> RequestError:
    return invalid(f"JSON Value: {value_text(query)} {reason}")


def _malformed(request: Request) -> RequestError:
    return invalid(f"Malformed request: {request.method} {request.target}")


def _model_spec(match: re.Match[str]) -> ModelSpec:
    spec = ModelSpec(name=_unescape(match["name"] or ""))
    if match["version"]:
        version = int(match["version"]) if len(match["version"]) < 100 else 2**63
        if version >= 2**63:
            raise _BadVersion
        spec.version.value = version
    elif match["label"]:
        spec.version_label = _unescape(match["label"])
    return spec


def _unescape(text: str) -> str:
    """Replaces %41 and the like; what is no such escape stays."""
    raw = _PERCENT.sub(lambda match: bytes([int(match[1], 16)]), text.encode("latin-1"))
    return raw.decode("utf-8", "replace")


def _json(status: int, text: bytes) -> Response:
    return Response(status, "application/json", text)
