"""TensorFlow Serving's REST API on the models of this process: predict, status and metadata.

It is for `curl` and for dashboards; the client speaks gRPC. Forms and texts are those of
util/json_tensor.cc and model_servers/http_rest_api_handler.cc.
"""

import base64
import binascii
import json
import re
from http import HTTPStatus
from typing import Any, NamedTuple

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from imgcap.signature import SERVING_DEFAULT
from serving.server.fronts.http import METRICS_PATH, Response, metrics_response
from serving.server.metrics import Metrics
from serving.server.models.model_list import Models
from serving.server.predictor import Predictor
from serving.server.request_error import RequestError, invalid
from serving.wire.tensors import METADATA_FIELD

TIMEOUT_SECONDS = 30.0
"""How long a request may take, as --rest_api_timeout_in_ms; HTTP has no deadline of its own."""

_PATH = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(?:/(?:versions/(?P<version>\d+)|labels/(?P<label>[^/:]+)))?"
    r"(?P<action>:predict|:classify|:regress|/metadata|)"
)
_HTTP_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.OUT_OF_RANGE: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    grpc.StatusCode.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    grpc.StatusCode.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    grpc.StatusCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
}


class Rest:
    """Answers HTTP requests about the models of a server."""

    def __init__(self, models: Models, predictor: Predictor, metrics: Metrics) -> None:
        self._models, self._predictor, self._metrics = models, predictor, metrics

    def answer(self, method: str, path: str, body: bytes) -> Response:
        """Answers one request.

        Args:
            method: GET or POST.
            path: the path as it came, with any query.
            body: content of a POST; else empty.
        """
        if path.partition("?")[0] == METRICS_PATH:
            return metrics_response(path, self._metrics.text)
        try:
            return _json(HTTPStatus.OK, self._answer(method, path, body))
        except RequestError as error:
            status = _HTTP_STATUS.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)
            return _json(status, {"error": error.details})

    def _answer(self, method: str, path: str, body: bytes) -> Any:
        match = _PATH.fullmatch(path)
        reads = match is not None and match["action"] in ("", "/metadata")
        if match is None or reads != (method == "GET"):
            raise invalid(f"Malformed request: {method} {path}")
        spec = ModelSpec(name=match["name"])
        if match["version"]:
            spec.version.value = int(match["version"])
        elif match["label"]:
            spec.version_label = match["label"]
        if match["action"] == "":
            return _status(self._models, spec)
        if match["action"] == "/metadata":
            return _metadata(self._models, spec)
        if match["action"] == ":predict":
            return self._predict(spec, body)
        raise RequestError(
            grpc.StatusCode.UNIMPLEMENTED, "A captioner does not classify or regress"
        )

    def _predict(self, spec: ModelSpec, body: bytes) -> Any:
        servable = self._models.find(spec)
        query = _parse(body)
        name = query.get("signature_name") or SERVING_DEFAULT
        if name not in servable.signature_defs:
            raise invalid(f'Serving signature name: "{name}" not found in signature def')
        spec.signature_name = name
        request = PredictRequest(model_spec=spec)
        inputs = _inputs(query, servable.signature_defs[name])
        for alias, array in inputs.arrays.items():
            request.inputs[alias].CopyFrom(tf.make_tensor_proto(array))
        response = self._predictor.predict(request, TIMEOUT_SECONDS, "REST")
        columns = {
            alias: _column(alias, tf.make_ndarray(proto))
            for alias, proto in response.outputs.items()
        }
        single = len(columns) == 1
        if not inputs.rows:
            return {"outputs": next(iter(columns.values())) if single else columns}
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return {"predictions": [next(iter(row.values())) for row in rows] if single else rows}


class _Inputs(NamedTuple):
    """The inputs of a query.

    Attributes:
        arrays: an array for each alias.
        rows: whether they came row by row.
    """

    arrays: dict[str, np.ndarray]
    rows: bool


def _parse(body: bytes) -> dict[str, Any]:
    try:
        query = json.loads(body)
    except json.JSONDecodeError as error:
        raise invalid(f"JSON Parse error: {error.msg} at offset: {error.pos}") from None
    except UnicodeDecodeError as error:
        raise invalid(
            f"JSON Parse error: Invalid encoding in string. at offset: {error.start}"
        ) from None
    if not isinstance(query, dict) or not ({"inputs", "instances"} & set(query)):
        raise invalid("Missing 'inputs' or 'instances' key")
    return query


def _inputs(query: dict[str, Any], signature: SignatureDef) -> _Inputs:
    """Reads either form: `inputs` has a list for each alias, `instances` an object for each row."""
    aliases = sorted(signature.inputs)
    rows = "instances" in query
    given = query["instances"] if rows else query["inputs"]
    if rows and (not isinstance(given, list) or not given):
        raise invalid("Expecting 'instances' value to be a non-empty list")
    if rows and all(isinstance(row, dict) and set(row) != {"b64"} for row in given):
        named = {
            alias: [row[alias] for row in given if alias in row] for alias in set().union(*given)
        }
    elif isinstance(given, dict) and set(given) != {"b64"}:
        named = given
    elif len(aliases) == 1:  # a single input needs no name
        named = {aliases[0]: given}
    else:
        raise invalid(f"Expecting an object with the inputs {', '.join(aliases)}")
    arrays = {}
    for alias, values in named.items():
        dtype = (
            signature.inputs[alias].dtype
            if alias in signature.inputs
            else tf.string.as_datatype_enum
        )
        arrays[alias] = _to_array(alias, values, tf.as_dtype(dtype))
    return _Inputs(arrays, rows)


def _to_array(alias: str, values: Any, dtype: tf.DType) -> np.ndarray:
    try:
        if dtype == tf.string:
            return np.array(_to_bytes(values), dtype=object)
        return np.array(values, dtype=dtype.as_numpy_dtype)
    except (ValueError, TypeError, binascii.Error):
        raise invalid(f"JSON Value for input {alias} is not of the type {dtype.name}") from None


def _to_bytes(values: Any) -> Any:
    if isinstance(values, list):
        return [_to_bytes(value) for value in values]
    if isinstance(values, dict):
        if set(values) != {"b64"}:
            raise ValueError("not a b64 object")
        return base64.b64decode(values["b64"], validate=True)
    if isinstance(values, str):
        return values.encode()
    raise TypeError("not a string")


def _column(alias: str, array: np.ndarray) -> list[Any]:
    """An output's rows for JSON.

    Strings are text, but base64 if their alias ends with _bytes (util/json_tensor.cc).
    """
    if array.dtype != object:
        return array.tolist()

    def text(value: Any) -> Any:
        if isinstance(value, list):
            return [text(entry) for entry in value]
        if alias.endswith("_bytes"):
            return {"b64": base64.b64encode(value).decode()}
        return value.decode("utf-8", errors="replace")

    return text(array.tolist())


def _status(models: Models, spec: ModelSpec) -> Any:
    statuses = GetModelStatusResponse(model_version_status=models.statuses(spec))
    answer = json_format.MessageToDict(
        statuses, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    # People know the names of status codes, not their numbers.
    for entry, status in zip(
        answer["model_version_status"], statuses.model_version_status, strict=True
    ):
        code = next(code for code in grpc.StatusCode if code.value[0] == status.status.error_code)
        entry["status"] = {"error_code": code.name, "error_message": status.status.error_message}
    return answer


def _metadata(models: Models, spec: ModelSpec) -> Any:
    servable = models.find(spec)
    signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=servable.signature_defs)
    return {
        "model_spec": {"name": spec.name, "signature_name": "", "version": str(servable.version)},
        "metadata": {
            METADATA_FIELD: json_format.MessageToDict(signatures, preserving_proto_field_name=True)
        },
    }


def _json(status: int, value: Any) -> Response:
    return Response(
        status, "application/json", json.dumps(value, indent=4, ensure_ascii=False).encode()
    )
