"""One loaded version of a model, with TensorFlow Serving's checks before and after running it.

Codes and texts are those of tensorflow_model_server 2.20; the order of the checks is that of
servables/tensorflow/predict_util.cc: signature, number of inputs, their names, output filter, run.
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from imgcap.files.model_folder import MANIFEST, WARMUP_FILE
from imgcap.host.cpu import missing_cpu_features
from imgcap.signature import SERVING_DEFAULT
from serving.server.request_error import RequestError, invalid

_LOAD_ERRORS = (OSError, ValueError, KeyError, AttributeError, DecodeError, tf.errors.OpError)
_STATUS = {code.value[0]: code for code in grpc.StatusCode}

# Which field of a TensorProto carries a type. The server answers in these and not in
# `tensor_content`, which `tf.make_tensor_proto` prefers, and clients exist that read nothing else.
_VALUE_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_STRING: "string_val",
}


class LoadError(Exception):
    """A version that can't be loaded, or that fails on its own warm-up requests."""


class Call(NamedTuple):
    """A request that has passed the checks.

    Attributes:
        signature_name: name of the signature to run.
        inputs: an array for each of its inputs, defaults included.
        aliases: names of the outputs that the caller asks for.
    """

    signature_name: str
    inputs: dict[str, np.ndarray]
    aliases: list[str]


class Servable:
    """A version of a model in memory, warmed; any number of threads may use it.

    Attributes:
        version: number of the version.
        is_export: whether imgcap-export wrote it, so that its rows do not depend on each other.
        signature_defs: the signatures by name.
        functions: what computes each signature, by name; equal signatures share one.
        warmup_seconds: how long the warm-up requests took; None if there are none.
    """

    def __init__(self, path: Path) -> None:
        """Loads and warms a SavedModel.

        Args:
            path: the version's folder, whose name is its number.

        Raises:
            LoadError: broken or incomplete, or a warm-up request fails, as in the real server.
        """
        self.version = int(path.name)
        self.is_export = (path / MANIFEST).exists()
        _check_cpu(path)
        try:
            self.signature_defs = _read_signature_defs(path)
            # Kept, since the functions don't own their variables.
            self._loaded = tf.saved_model.load(str(path))
        except _LOAD_ERRORS as error:
            raise LoadError(f"{path} can't be loaded ({_first_line(error)})") from None
        self.functions = _join_twins(self._loaded.signatures, self.signature_defs)
        self.warmup_seconds = self._warm_up(path / WARMUP_FILE)

    def signature(self, name: str) -> SignatureDef:
        """Finds a signature by the name that a request gives; empty is the default one.

        Raises:
            RequestError: there is none of that name.
        """
        name = name or SERVING_DEFAULT
        if name not in self.signature_defs:
            raise RequestError(
                grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.'
            )
        return self.signature_defs[name]

    def parse(self, request: PredictRequest) -> Call:
        """Checks a request as far as it can be checked without running it.

        Args:
            request: a request for this version.

        Raises:
            RequestError: an unknown signature, wrong inputs or an impossible output filter.
        """
        name = request.model_spec.signature_name or SERVING_DEFAULT
        signature = self.signature(name)
        inputs = _parse_inputs(signature, request)
        aliases = _filter_outputs(signature, request.output_filter)
        _check_types(signature, inputs)
        return Call(name, inputs, aliases)

    def run(self, signature_name: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs the graph.

        Args:
            signature_name: name of the signature to run.
            inputs: an array for each of its inputs.

        Returns:
            An array for each output; strings as `bytes` objects.

        Raises:
            RequestError: the graph fails.
        """
        try:
            outputs = self.functions[signature_name](
                **{alias: tf.constant(value) for alias, value in inputs.items()}
            )
        except tf.errors.OpError as error:
            raise RequestError(_STATUS[error.error_code], _graph_message(error)) from None
        # A string without a dimension comes as `bytes`, which is no array.
        return {
            alias: np.asarray(tensor.numpy(), dtype=object if tensor.dtype == tf.string else None)
            for alias, tensor in outputs.items()
        }

    def answer(
        self, model_name: str, call: Call, outputs: dict[str, np.ndarray]
    ) -> PredictResponse:
        """Makes the response to a call that ran.

        Args:
            model_name: name of the model in the request.
            call: the checked request.
            outputs: the arrays that `run` returned, cut to the rows of this call.
        """
        response = PredictResponse()
        response.model_spec.name = model_name
        response.model_spec.version.value = self.version
        response.model_spec.signature_name = call.signature_name
        for alias in call.aliases:
            response.outputs[alias].CopyFrom(to_tensor_proto(outputs[alias]))
        return response

    def _warm_up(self, path: Path) -> float | None:
        if not path.exists():
            return None
        started = time.monotonic()
        try:
            for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
                call = self.parse(PredictionLog.FromString(record).predict_log.request)
                self.run(call.signature_name, call.inputs)
        except (RequestError, *_LOAD_ERRORS) as error:
            raise LoadError(f"{path} has a request that fails ({_first_line(error)})") from None
        return time.monotonic() - started


def to_tensor_proto(array: np.ndarray) -> TensorProto:
    """Writes a tensor into the typed field of its message, as the real server answers.

    Args:
        array: an array of any shape; strings as `bytes` objects.
    """
    dtype = tf.as_dtype(array.dtype).as_datatype_enum
    if dtype not in _VALUE_FIELDS:
        return tf.make_tensor_proto(array)
    shape = tf.TensorShape(array.shape).as_proto()
    return TensorProto(
        dtype=dtype, tensor_shape=shape, **{_VALUE_FIELDS[dtype]: array.ravel().tolist()}
    )


def _check_cpu(path: Path) -> None:
    """Refuses a graph for another CPU; running it would end the process with all its versions."""
    try:
        required = json.loads((path / MANIFEST).read_bytes()).get("cpu_features", [])
    except FileNotFoundError:  # a model from elsewhere has no manifest and demands nothing
        return
    except (OSError, ValueError, AttributeError) as error:
        raise LoadError(f"{path / MANIFEST} can't be read ({_first_line(error)})") from None
    missing = missing_cpu_features(required)
    if missing:
        raise LoadError(
            f"{path} needs a CPU with {', '.join(missing)}, which this machine lacks; serve it "
            "elsewhere or export with --optimize=none"
        )


def _read_signature_defs(path: Path) -> dict[str, SignatureDef]:
    """Reads the signatures from the file.

    A loaded model has forgotten the names of its tensors, which error texts need.
    """
    saved_model = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    for meta_graph in saved_model.meta_graphs:
        if tf.saved_model.SERVING in meta_graph.meta_info_def.tags:
            return dict(meta_graph.signature_def)
    raise ValueError("no graph is tagged 'serve'")


def _join_twins(
    functions: Mapping[str, Callable], signature_defs: Mapping[str, SignatureDef]
) -> dict[str, Callable]:
    """Gives signatures with the same tensors the same function, as the real server does.

    Each function builds a graph of its own, with all constants.
    """
    first: dict[bytes, Callable] = {}
    return {
        name: first.setdefault(signature_defs[name].SerializeToString(deterministic=True), function)
        for name, function in functions.items()
    }


def _parse_inputs(signature: SignatureDef, request: PredictRequest) -> dict[str, np.ndarray]:
    sent, due = set(request.inputs), set(signature.inputs)
    defaults = signature.defaults
    if len(sent) > len(due) or (len(sent) < len(due) and not defaults):
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(due)} len({_braces(sent)}) != "
            f"len({_braces(due)}). Sent extra: {_braces(sent - due)}. Missing but required: "
            f"{_braces(due - sent)}."
        )
    inputs = {}
    for alias in sorted(due):
        proto = request.inputs.get(alias) if alias in sent else defaults.get(alias)
        if proto is None:
            raise invalid(
                f"Signature input alias: {alias}(feed name: {signature.inputs[alias].name}) not "
                "found in request and no default value provided. Inputs expected to be in the "
                f"request {_braces(sent)}, or default input alias set: {','.join(sorted(defaults))}"
            )
        inputs[alias] = _parse_tensor(alias, proto)
    return inputs


def _parse_tensor(alias: str, proto: TensorProto) -> np.ndarray:
    try:
        return tf.make_ndarray(proto)
    except (TypeError, ValueError, OverflowError):
        raise invalid(f"tensor parsing error: {alias}") from None


def _check_types(signature: SignatureDef, inputs: dict[str, np.ndarray]) -> None:
    """Refuses inputs of a wrong type before the run: in a batch they would fail the others too."""
    for index, alias in enumerate(sorted(inputs)):
        expected, given = (
            signature.inputs[alias].dtype,
            tf.as_dtype(inputs[alias].dtype).as_datatype_enum,
        )
        if expected != given:
            raise invalid(
                f"Expects arg[{index}] to be {_type_name(expected)} but {_type_name(given)} is "
                "provided"
            )


def _filter_outputs(signature: SignatureDef, output_filter: Iterable[str]) -> list[str]:
    aliases: list[str] = []
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in "
                f"the set {_braces(signature.outputs)}."
            )
        if alias in aliases:
            raise invalid(f"duplicate output tensor alias: {alias}")
        aliases.append(alias)
    return aliases or sorted(signature.outputs)


def _graph_message(error: tf.errors.OpError) -> str:
    """The op's own words and its node, without what the eager runtime wraps around them."""
    text = re.sub(r"\s*\[Op:\w*\]\s*$", "", error.message)
    text = re.sub(r"^Graph execution error:.*?\n(?=[^\n]*\n\t \[\[)", "", text, flags=re.DOTALL)
    return text.strip()


def _braces(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"


def _type_name(dtype: int) -> str:
    return types_pb2.DataType.Name(dtype).removeprefix("DT_").lower()


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
