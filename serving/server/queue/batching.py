"""Runs requests that come at the same time as one batch, by TensorFlow Serving's rules.

The rules are those of shared_batch_scheduler.h and batching_session.cc: a batch runs when it is
full or its oldest request has waited long enough, and a thread is free; it is padded to the next
allowed size and every answer is cut back; a full queue refuses. Requests are merged only within one
signature of one version.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence

import grpc
import numpy as np

from serving.server.metrics import Metrics
from serving.server.queue.caller import Caller
from serving.server.queue.options import BatchingOptions
from serving.server.queue.slices import Runnable, Tensors
from serving.server.request_error import RequestError, invalid

_TOO_LATE = "Run() timeout exceeded while waiting in batching queue"

log = logging.getLogger(__name__)


class _Task:
    """A request in a queue.

    Attributes:
        inputs: its rows.
        rows: number of its rows.
        caller: who waits for it.
        since: when it came, on the monotonic clock.
        outputs: the answer, if it did not fail.
        error: why it failed, or None.
        done: set when `outputs` or `error` is there.
    """

    def __init__(self, inputs: Tensors, rows: int, caller: Caller) -> None:
        self.inputs, self.rows, self.caller = inputs, rows, caller
        self.since = time.monotonic()
        self.outputs: Tensors = {}
        self.error: RequestError | None = None
        self.done = threading.Event()


class _Queue:
    """The batches of one signature that wait for a thread; the last may still take more rows."""

    def __init__(self, model: Runnable, signature_name: str, options: BatchingOptions) -> None:
        self.model, self.signature_name, self._options = model, signature_name, options
        self._batches: deque[list[_Task]] = deque()

    def add(self, task: _Task) -> None:
        """Puts a task into the open batch, or opens another.

        Raises:
            RequestError: too many batches wait already.
        """
        room = self._options.max_batch_size - _rows(self._batches[-1]) if self._batches else 0
        if task.rows <= room:
            self._batches[-1].append(task)
        elif len(self._batches) < self._options.max_enqueued_batches:
            self._batches.append([task])
        else:
            raise RequestError(
                grpc.StatusCode.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full",
            )

    def discard(self, task: _Task) -> None:
        """Takes out a task that nobody waits for any more, unless it runs already."""
        self._batches = deque(
            left
            for batch in self._batches
            if (left := [other for other in batch if other is not task])
        )

    def due(self) -> float:
        """The moment on the monotonic clock when the first batch may run; infinity without any."""
        if not self._batches:
            return float("inf")
        first = self._batches[0]
        closed = len(self._batches) > 1 or _rows(first) == self._options.max_batch_size
        return first[0].since + (0.0 if closed else self._options.timeout_seconds)

    def pop(self) -> list[_Task]:
        """Takes the first batch."""
        return self._batches.popleft()

    def tasks(self) -> list[_Task]:
        """All tasks that wait."""
        return [task for batch in self._batches for task in batch]

    def __len__(self) -> int:
        return len(self._batches)


class Batcher:
    """Threads that run batches; `run` is called by the threads that serve requests."""

    def __init__(self, options: BatchingOptions, metrics: Metrics) -> None:
        """Starts the threads; `stop` ends them.

        Args:
            options: how requests are merged.
            metrics: the metrics to count in.
        """
        self._options, self._metrics = options, metrics
        self._queues: dict[tuple[int, str], _Queue] = {}
        self._changed = threading.Condition()
        self._stopped = False
        self._threads = [
            threading.Thread(target=self._work, name=f"batch_{number}", daemon=True)
            for number in range(options.num_threads)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, model: Runnable, signature_name: str, inputs: Tensors, caller: Caller) -> Tensors:
        """Runs a request together with others, and returns its own rows.

        Args:
            model: the version that the request names.
            signature_name: name of the signature to run.
            inputs: the request's rows.
            caller: who waits for the answer.

        Raises:
            RequestError: not batchable, too large, too many wait already, the deadline passed in
                the queue, the caller went away, or the graph failed on the batch.
        """
        rows = self.check({alias: array.shape for alias, array in inputs.items()})
        if not rows:
            return model.run(signature_name, inputs)  # without a row there is no padding
        task, key = _Task(inputs, rows, caller), (id(model), signature_name)
        with self._changed:
            queue = self._queues.get(key) or _Queue(model, signature_name, self._options)
            queue.add(task)
            self._queues[key] = queue
            self._changed.notify()
        try:
            caller.wait(task.done, _TOO_LATE)
        except RequestError:
            with self._changed:
                queue.discard(task)
            raise
        if task.error is not None:
            raise task.error
        return task.outputs

    def stop(self) -> None:
        """Ends the threads when their batches are done; requests that still wait are refused."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        for queue in self._queues.values():
            for task in queue.tasks():
                task.error = RequestError(grpc.StatusCode.UNAVAILABLE, "The server is stopping")
                task.done.set()

    def check(self, shapes: Mapping[str, Sequence[int]]) -> int:
        """Counts the rows of a request.

        Args:
            shapes: of each input.

        Raises:
            RequestError: it cannot be batched, or has more rows than a batch.
        """
        if not shapes:
            raise invalid("Batching Run() must have at least one input tensor")
        if not all(shapes.values()):
            raise invalid("Batching Run() input tensors must have at least one dimension")
        sizes = {shape[0] for shape in shapes.values()}
        if len(sizes) > 1:
            raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
        rows = sizes.pop()
        if rows > self._options.max_batch_size:
            raise invalid(
                f"Task size {rows} is larger than maximum input batch size "
                f"{self._options.max_batch_size}"
            )
        return rows

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            self._process(*taken)

    def _take(self) -> tuple[_Queue, list[_Task]] | None:
        """Waits for a batch that is due; None at the end."""
        with self._changed:
            while not self._stopped:
                if not self._queues:
                    self._changed.wait()
                    continue
                key = min(self._queues, key=lambda key: self._queues[key].due())
                wait = self._queues[key].due() - time.monotonic()
                if wait <= 0:
                    queue = self._queues[key]
                    batch = queue.pop()
                    if not queue:  # it would keep its version in memory, even an unloaded one
                        del self._queues[key]
                    self._changed.notify()  # another thread must watch the clock now
                    return queue, batch
                if wait == float("inf"):
                    del self._queues[key]
                else:
                    self._changed.wait(wait)
        return None

    def _process(self, queue: _Queue, batch: list[_Task]) -> None:
        for task in batch:
            task.error = task.caller.refusal(_TOO_LATE)
        waiting = [task for task in batch if task.error is None]
        if waiting:
            self._answer(queue, waiting)
        for task in batch:
            task.done.set()

    def _answer(self, queue: _Queue, batch: list[_Task]) -> None:
        """Runs a batch; each task then has its outputs or an error."""
        try:
            outputs = self._run_batch(queue, batch)
            for task, part in zip(
                batch, _split(outputs, [task.rows for task in batch]), strict=True
            ):
                task.outputs = part
        except RequestError as error:
            for task in batch:
                # A copy, since the traceback holds the batch and so all its arrays.
                task.error = RequestError(error.code, error.details)
        except Exception as error:
            # Whatever it is, no request may wait for ever, and the thread must live on.
            log.exception("a batch failed")
            for task in batch:
                task.error = RequestError(
                    grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}"
                )

    def _run_batch(self, queue: _Queue, batch: list[_Task]) -> Tensors:
        started, rows = time.monotonic(), _rows(batch)
        padded = self._options.padded(rows)
        for task in batch:
            self._metrics.queuing_latency.observe(1e6 * (started - task.since), "batch")
        self._metrics.processed_batch_size.observe(padded)
        self._metrics.padding_size.observe(padded - rows, str(padded))
        outputs = queue.model.run(queue.signature_name, _merge(batch, padded - rows))
        for array in outputs.values():
            if array.ndim == 0:
                raise RequestError(
                    grpc.StatusCode.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions"
                )
            if len(array) != padded:
                raise RequestError(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    "Batched output tensor's 0th dimension does not equal the sum of the 0th "
                    "dimension sizes of the input tensors",
                )
        return outputs


def _rows(batch: list[_Task]) -> int:
    return sum(task.rows for task in batch)


def _merge(batch: list[_Task], padding: int) -> Tensors:
    """Joins the rows of all tasks, and pads with the first row of the last one.

    A row that was sent is one that the model takes.
    """
    merged = {}
    for alias in batch[0].inputs:
        arrays = [task.inputs[alias] for task in batch]
        if len({array.shape[1:] for array in arrays}) > 1:
            raise RequestError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"Tensors with name '{alias}' from different tasks have different shapes and "
                "padding is turned off.Set pad_variable_length_inputs to true, or ensure that all "
                "tensors with the same namehave equal dimensions starting with the first dim.",
            )
        merged[alias] = np.concatenate([*arrays, *[arrays[-1][:1]] * padding])
    return merged


def _split(outputs: Tensors, sizes: list[int]) -> list[Tensors]:
    """Cuts the outputs into each task's own rows; those of the padding are left over."""
    ends = np.cumsum(sizes)
    return [
        {alias: array[end - size : end] for alias, array in outputs.items()}
        for size, end in zip(sizes, ends, strict=True)
    ]
