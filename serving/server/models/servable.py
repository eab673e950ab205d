"""One loaded version of a model: its signatures, what runs them, and its warm-up."""

import itertools
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from imgcap.files.checked import is_unchanged
from imgcap.files.literal import literal_folder
from imgcap.files.model_folder import MANIFEST, WARMUP_FILE
from imgcap.host.cpu import missing_cpu_features
from serving.server.models.calls import any_shapes
from serving.server.models.examples import CLASSIFY, MULTI_INFERENCE, REGRESS
from serving.server.models.messages import Tensor
from serving.server.models.predict import PREDICT
from serving.server.models.running import Run, load_functions, load_session
from serving.server.request_error import RequestError, invalid

_LOAD_ERRORS = (OSError, ValueError, KeyError, AttributeError, DecodeError, tf.errors.OpError)
_STATUS = {code.value[0]: code for code in grpc.StatusCode}

MAX_WARMUP_REQUESTS = 1000
"""Requests that a warm-up file may hold."""

_WARMUP_APIS = {
    "predict_log": PREDICT,
    "classify_log": CLASSIFY,
    "regress_log": REGRESS,
    "multi_inference_log": MULTI_INFERENCE,
}


class LoadError(Exception):
    """A version that can't be loaded, or that fails on its own warm-up requests."""


class Servable:
    """A version of a model in memory, warmed; any number of threads may use it.

    Attributes:
        version: number of the version.
        is_export: whether imgcap-export wrote it, so that its rows do not depend on each other.
        max_rows: rows that a request may have; None if the model does not say.
        signature_defs: the signatures by name.
        functions: what computes each signature, by name; equal signatures share one.
        warmup_seconds: how long the warm-up requests took so far; None if there are none.
    """

    def __init__(
        self,
        path: Path,
        on_warmup: Callable[[int, int], None] = lambda done, total: None,
        first_only: bool = False,
    ) -> None:
        """Loads and warms a SavedModel.

        Args:
            path: the version's folder, whose name is its number.
            on_warmup: called before each warm-up request with the number of those that are done and
                of all.
            first_only: whether to run only the first warm-up request; `warm_up_next` runs the
                others.

        Raises:
            LoadError: broken or incomplete, or a warm-up request fails, as in the real server.
        """
        self.version = int(path.name)
        manifest = _read_manifest(path)
        self.is_export = manifest is not None
        self.max_rows: int | None = (manifest or {}).get("max_batch")
        _check_cpu(path, (manifest or {}).get("cpu_features", []))
        try:
            self.signature_defs = read_signature_defs(path)
            with literal_folder(path) as folder:
                functions = (
                    load_session(folder, self.signature_defs)
                    if self.is_export
                    else load_functions(folder)
                )
        except _LOAD_ERRORS as error:
            raise LoadError(f"{path} can't be loaded ({_first_line(error)})") from None
        self.functions = _join_twins(functions, self.signature_defs)
        self._warmup = _Warmup(path / WARMUP_FILE, on_warmup)
        self.warmup_seconds: float | None = None
        self._warm_up(1 if first_only else MAX_WARMUP_REQUESTS + 1)

    def run(self, signature_name: str, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Runs the graph.

        Args:
            signature_name: name of the signature to run.
            inputs: an array for each of its inputs.

        Returns:
            An array for each output; strings as `bytes` objects.

        Raises:
            RequestError: the graph fails.
        """
        if signature_name not in self.functions:  # __saved_model_init_op, which gives no tensor
            (output,) = self.signature_defs[signature_name].outputs.values()
            raise invalid(
                f"Tensor {output.name}:0, specified in either feed_devices or fetch_devices was "
                "not found in the Graph"
            )
        try:
            return self.functions[signature_name](inputs)
        except tf.errors.OpError as error:
            raise RequestError(_STATUS[error.error_code], _graph_message(error.message)) from None
        except UnicodeDecodeError as error:
            # A message that quotes bytes of the request which are no text; its code is lost.
            raise invalid(_graph_message(error.object.decode(errors="replace"))) from None

    def warm_up_next(self) -> bool:
        """Runs one more warm-up request.

        Returns:
            Whether there was one.

        Raises:
            LoadError: it fails.
        """
        return self._warm_up(1) > 0

    def _warm_up(self, most: int) -> int:
        """Runs the next warm-up requests and returns how many there were."""
        started, done = time.monotonic(), 0
        try:
            for record in itertools.islice(self._warmup.records, most):
                self._run_logged(PredictionLog.FromString(record))
                done += 1
        except (RequestError, *_LOAD_ERRORS) as error:
            raise LoadError(
                f"{self._warmup.path} has a request that fails ({_first_line(error)})"
            ) from None
        if done:
            self.warmup_seconds = (self.warmup_seconds or 0.0) + time.monotonic() - started
        return done

    def _run_logged(self, logged: PredictionLog) -> None:
        """Runs a warm-up request; one of no kind is passed over, as in the real server."""
        kind = logged.WhichOneof("log_type")
        if kind is None:
            return
        if kind not in _WARMUP_APIS:
            raise ValueError(f"Unsupported log_type for warmup: {kind}")
        api, request = _WARMUP_APIS[kind], getattr(logged, kind).request
        calls = api.parse(self, request, any_shapes)
        outputs = [self.run(call.signature_name, call.inputs) for call in calls]
        api.answer(self, request, calls, outputs)


class _Warmup:
    """The requests of a warm-up file.

    Attributes:
        path: the file; it may be missing.
        records: those that were not run yet, an iterator.
    """

    def __init__(self, path: Path, on_warmup: Callable[[int, int], None]) -> None:
        self.path, self._on_warmup = path, on_warmup
        self.records = self._read()

    def _read(self) -> Iterator[bytes]:
        if not self.path.exists():
            return
        dataset = tf.data.TFRecordDataset(os.fsencode(self.path))
        records = list(itertools.islice(dataset.as_numpy_iterator(), MAX_WARMUP_REQUESTS + 1))
        for number, record in enumerate(records):
            if number == MAX_WARMUP_REQUESTS:
                raise ValueError(f"more than {MAX_WARMUP_REQUESTS} requests")
            self._on_warmup(number, len(records))
            yield record


def _read_manifest(path: Path) -> dict[str, Any] | None:
    """Reads what an export says of itself; None for a model from elsewhere."""
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise LoadError(f"{path / MANIFEST} can't be read ({_first_line(error)})") from None
    if not _is_manifest(manifest):
        raise LoadError(f"{path / MANIFEST} can't be read (not a manifest of imgcap-export)")
    if not is_unchanged(manifest):
        raise LoadError(f"{path / MANIFEST} can't be read (its checksum does not fit)")
    return manifest


def _is_manifest(value: Any) -> bool:
    """Whether what a server reads in a manifest is of the right type, as far as it is there."""
    if not isinstance(value, dict):
        return False
    max_batch, features = value.get("max_batch", 1), value.get("cpu_features", [])
    return (
        type(max_batch) is int
        and max_batch > 0
        and isinstance(features, list)
        and all(isinstance(feature, str) for feature in features)
    )


def _check_cpu(path: Path, required: list[str]) -> None:
    """Refuses a graph for another CPU; running it would end the process with all its versions."""
    missing = missing_cpu_features(required)
    if missing:
        raise LoadError(
            f"{path} needs a CPU with {', '.join(missing)}, which this machine lacks; serve it "
            "elsewhere or export with --optimize=none"
        )


def read_signature_defs(path: Path) -> dict[str, SignatureDef]:
    """Reads the signatures of a SavedModel, by name, from its file.

    A loaded model has forgotten the names of its tensors, which error texts need.

    Args:
        path: the SavedModel's folder.
    """
    saved_model = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    for meta_graph in saved_model.meta_graphs:
        if tf.saved_model.SERVING in meta_graph.meta_info_def.tags:
            # Copies: a part of a message keeps the whole of it in memory, constants and all.
            return {
                name: SignatureDef.FromString(definition.SerializeToString())
                for name, definition in meta_graph.signature_def.items()
            }
    raise ValueError("no graph is tagged 'serve'")


def _join_twins(
    functions: Mapping[str, Run], signature_defs: Mapping[str, SignatureDef]
) -> dict[str, Run]:
    """Gives signatures with the same tensors the same function, as the real server does.

    Each function builds a graph of its own, with all constants.
    """
    first: dict[bytes, Run] = {}
    return {
        name: first.setdefault(signature_defs[name].SerializeToString(deterministic=True), function)
        for name, function in functions.items()
    }


def _graph_message(message: str) -> str:
    """The op's own words and its node, without what Python's calls wrap around them.

    A message may quote a whole request, so nothing here takes longer than in proportion to it.
    """
    text = message.partition("\n\nOriginal stack trace for ")[0]
    before, mark, name = text.rpartition("[Op:")
    if mark and re.fullmatch(r"\w*\]\s*", name):
        text = before
    text = re.sub(r"^Graph execution error:.*?\n(?=[^\n]*\n\t \[\[)", "", text, flags=re.DOTALL)
    return text.strip()


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
