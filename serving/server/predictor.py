"""Answers requests for predictions: finds the model, checks, waits for a turn, runs and counts.

gRPC and REST both come through here, so that they can't differ.
"""

import os
import time
from collections.abc import Callable
from typing import Any

from serving.server.metrics import Metrics
from serving.server.models.calls import Api, Call, any_shapes
from serving.server.models.model_list import Models
from serving.server.models.servable import Servable
from serving.server.queue.batching import Batcher
from serving.server.queue.caller import Caller
from serving.server.queue.gate import Gate
from serving.server.queue.options import DEFAULT_MAX_BYTES, BatchingOptions
from serving.server.queue.slices import SLICE_ROWS, count_rows, has_fixed_rows, run_in_slices


class Predictor:
    """Runs requests on the models of a server."""

    def __init__(
        self,
        models: Models,
        metrics: Metrics,
        max_waiting: int,
        batching: BatchingOptions | None,
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> None:
        """Starts the batch threads if there is batching; `stop` ends them.

        Args:
            models: the models to run.
            metrics: the metrics to count in.
            max_waiting: number of requests inside at a time; more are refused at once.
            batching: how requests are merged; None runs each alone.
            max_bytes: size of all requests inside at a time; more are refused at once.
        """
        self._models, self._metrics = models, metrics
        self._batcher = Batcher(batching, metrics) if batching else None
        self._gate = Gate(max_waiting, os.cpu_count() or 1, max_bytes)

    def answer(
        self,
        api: Api,
        request: Any,
        seconds: float | None,
        entrypoint: str,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> Any:
        """Answers one request.

        Args:
            api: the method that was called.
            request: its message of the official API.
            seconds: time until the caller's deadline; None is for ever.
            entrypoint: GRPC or REST, for the metrics.
            is_cancelled: says whether the caller went away; it is asked from time to time, by any
                thread, and must not wait. None if that cannot be known.

        Raises:
            RequestError: the request is refused, too late, or failed.
        """
        started = time.monotonic()
        caller = Caller(seconds, is_cancelled)
        caller.check()
        spec = api.model_spec(request)
        servable = self._models.find(spec)
        with self._gate.place(request.ByteSize()):
            # Before its turn, since a wrong request should not wait to hear that it is wrong.
            check_shapes = self._batcher.check if self._batcher else any_shapes
            calls = api.parse(servable, request, check_shapes)
            outputs = [self._run(servable, call, caller) for call in calls]
            response = api.answer(servable, request, calls, outputs)
        elapsed = 1e6 * (time.monotonic() - started)
        self._metrics.request_latency.observe(elapsed, spec.name, api.name, entrypoint)
        return response

    def stop(self) -> None:
        """Ends the batch threads; call it when no request is under way."""
        if self._batcher is not None:
            self._batcher.stop()

    def _run(self, servable: Servable, call: Call, caller: Caller) -> dict[str, Any]:
        if call.runs_alone:
            with self._gate.turn(caller):
                return servable.run(call.signature_name, call.inputs)
        large = count_rows(call.inputs) > SLICE_ROWS
        if large and _has_independent_rows(servable, call.signature_name):
            return run_in_slices(
                servable,
                call.signature_name,
                call.inputs,
                lambda: self._gate.turn(caller, large=True),
            )
        if self._batcher is not None:
            return self._batcher.run(servable, call.signature_name, call.inputs, caller)
        with self._gate.turn(caller, large):
            return servable.run(call.signature_name, call.inputs)


def _has_independent_rows(servable: Servable, signature_name: str) -> bool:
    """Whether rows may run apart: those of a captioner's export may, of other models who knows."""
    return servable.is_export and has_fixed_rows(servable.signature_defs[signature_name])
