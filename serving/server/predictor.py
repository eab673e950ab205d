"""Answers requests for predictions: finds the model, checks, waits for a turn, runs and counts.

gRPC and REST both come through here, so that they can't differ.
"""

import os
import time
from typing import Any

from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse

from serving.server.metrics import Metrics
from serving.server.models.model_list import Models
from serving.server.models.servable import Call, Servable
from serving.server.queue.batching import Batcher
from serving.server.queue.gate import Gate
from serving.server.queue.options import BatchingOptions
from serving.server.request_error import invalid


class Predictor:
    """Runs requests on the models of a server."""

    def __init__(
        self, models: Models, metrics: Metrics, max_waiting: int, batching: BatchingOptions | None
    ) -> None:
        """Starts the batch threads if there is batching; `stop` ends them.

        Args:
            models: the models to run.
            metrics: the metrics to count in.
            max_waiting: number of requests inside at a time; more are refused at once.
            batching: how requests are merged; None runs each alone.
        """
        self._models, self._metrics = models, metrics
        self._batcher = Batcher(batching, metrics) if batching else None
        # With batching, all that are inside wait for a batch, and the batch threads bound the work.
        self._gate = Gate(max_waiting, max_waiting if batching else os.cpu_count() or 1)

    def predict(
        self, request: PredictRequest, seconds: float | None, entrypoint: str
    ) -> PredictResponse:
        """Answers one request.

        Args:
            request: a message of the official API.
            seconds: time until the caller's deadline; None is for ever.
            entrypoint: GRPC or REST, for the metrics.

        Raises:
            RequestError: the request is refused, too late, or failed.
        """
        started = time.monotonic()
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        name = request.model_spec.name
        servable = self._models.find(request.model_spec)
        # Before its turn, since a wrong request should not wait to hear that it is wrong.
        call = servable.parse(request)
        with self._gate.turn(seconds):
            left = None if seconds is None else max(0.0, seconds - (time.monotonic() - started))
            outputs = self._run(servable, call, left)
        response = servable.answer(name, call, outputs)
        elapsed = 1e6 * (time.monotonic() - started)
        self._metrics.request_latency.observe(elapsed, name, "Predict", entrypoint)
        return response

    def stop(self) -> None:
        """Ends the batch threads; call it when no request is under way."""
        if self._batcher is not None:
            self._batcher.stop()

    def _run(self, servable: Servable, call: Call, seconds: float | None) -> dict[str, Any]:
        if self._batcher is not None:
            return self._batcher.run(servable, call.signature_name, call.inputs, seconds)
        return servable.run(call.signature_name, call.inputs)
