"""Batching by itself, on a model whose answers and failures are known beforehand."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import numpy as np
import pytest

from imgcap.errors import ConfigError
from serving.server.metrics import Metrics
from serving.server.queue.batching import Batcher
from serving.server.queue.caller import Caller
from serving.server.queue.options import BatchingOptions
from serving.server.request_error import RequestError
from serving.server.settings.text_protos import read_batching
from tests.support.waiting import wait_for


class Doubler:
    """Doubles `x`; remembers the batches that it was given; waits and fails at will."""

    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.go = threading.Event()
        self.go.set()
        self.error: Exception | None = None

    def run(self, signature_name: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.batches.append(inputs["x"].tolist())
        assert self.go.wait(10)
        if self.error is not None:
            raise self.error
        if signature_name == "flat":
            return {"y": np.float32(1.0)}
        if signature_name == "short":
            return {"y": inputs["x"][:1]}
        return {
            "y": inputs["x"] * 2,
            "name": np.array([signature_name.encode()] * len(inputs["x"]), object),
        }


@contextmanager
def batching(**options):
    metrics = Metrics()
    batcher = Batcher(
        BatchingOptions(**{"num_threads": 1, "max_enqueued_batches": 99, **options}), metrics
    )
    try:
        yield batcher, metrics
    finally:
        batcher.stop()


def ask(
    batcher: Batcher, model: Doubler, *values: float, name: str = "double", seconds: float = 10
):
    inputs = {"x": np.array(values, np.float32)}
    return batcher.run(model, name, inputs, Caller(seconds))["y"].tolist()


def ask_at_once(batcher: Batcher, model: Doubler, rows: list[tuple[float, ...]]) -> list:
    """Sends requests while the only thread is busy, so that they meet in the queue.

    Returns:
        Their futures, in order.
    """
    model.go.clear()
    pool = ThreadPoolExecutor(len(rows) + 1)
    first = pool.submit(ask, batcher, model, -1.0)
    wait_for(lambda: len(model.batches) == 1)
    futures = []
    for row in rows:
        before = waiting(batcher)
        futures.append(pool.submit(ask, batcher, model, *row))
        wait_for(lambda before=before, last=futures[-1]: waiting(batcher) > before or last.done())
    model.go.set()
    assert first.result() == [-2.0]
    pool.shutdown()
    return futures


def waiting(batcher: Batcher) -> int:
    return sum(len(queue.tasks()) for queue in list(batcher._queues.values()))


def test_requests_run_together_and_each_gets_its_own_rows():
    model = Doubler()
    with batching(max_batch_size=8) as (batcher, metrics):
        futures = ask_at_once(batcher, model, [(1,), (2, 3), (4,)])
        assert [future.result() for future in futures] == [[2], [4, 6], [8]]
    assert model.batches == [[-1], [1, 2, 3, 4]]
    assert ":tensorflow:serving:batching_session:processed_batch_size_sum{} 5" in metrics.text()


def test_batch_is_padded_with_a_row_of_its_own_and_cut_back():
    model = Doubler()
    with batching(max_batch_size=8, allowed_batch_sizes=(1, 4, 8)) as (batcher, metrics):
        futures = ask_at_once(batcher, model, [(1, 2), (3,)])
        assert [future.result() for future in futures] == [[2, 4], [6]]
    assert model.batches == [[-1], [1, 2, 3, 3]]
    text = metrics.text()
    assert 'padding_size_sum{execution_batch_size="4"} 1' in text
    assert 'padding_size_bucket{execution_batch_size="1",le="0"} 1' in text


def test_full_batch_is_closed_and_the_next_one_opened():
    model = Doubler()
    with batching(max_batch_size=3) as (batcher, _):
        futures = ask_at_once(batcher, model, [(1, 2), (3, 4), (5,)])
        assert [future.result() for future in futures] == [[2, 4], [6, 8], [10]]
    assert model.batches == [[-1], [1, 2], [3, 4, 5]]  # rows of a request stay together


def test_lone_request_waits_for_company_no_longer_than_it_should():
    model = Doubler()
    with batching(max_batch_size=2, timeout_seconds=0.15) as (batcher, _):
        started = time.monotonic()
        assert ask(batcher, model, 1.0) == [2.0]
        assert 0.14 < time.monotonic() - started < 1.0
        started = time.monotonic()
        assert ask(batcher, model, 1.0, 2.0) == [2.0, 4.0]  # full at once
        assert time.monotonic() - started < 0.14


def test_signatures_and_versions_are_never_mixed():
    old, new = Doubler(), Doubler()
    with (
        batching(max_batch_size=8, timeout_seconds=0.05) as (batcher, _),
        ThreadPoolExecutor(3) as pool,
    ):
        futures = [
            pool.submit(ask, batcher, old, 1.0),
            pool.submit(ask, batcher, new, 2.0),
            pool.submit(ask, batcher, old, 3.0, name="other"),
        ]
        assert [future.result() for future in futures] == [[2.0], [4.0], [6.0]]
        wait_for(
            lambda: not batcher._queues
        )  # an empty queue would keep an unloaded version in memory
    assert sorted(old.batches) == [[1.0], [3.0]] and new.batches == [[2.0]]


def test_two_threads_run_two_batches():
    model = Doubler()
    model.go.clear()
    with batching(max_batch_size=1, num_threads=2) as (batcher, _), ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(ask, batcher, model, float(value)) for value in (1, 2)]
        wait_for(lambda: len(model.batches) == 2)
        model.go.set()
        assert sorted(future.result() for future in futures) == [[2.0], [4.0]]


def test_full_queue_refuses_at_once():
    model = Doubler()
    with batching(max_batch_size=2, max_enqueued_batches=2) as (batcher, _):
        *accepted, late = ask_at_once(batcher, model, [(1,), (2,), (3,), (4,), (5,)])
        assert [future.result() for future in accepted] == [[2], [4], [6], [8]]
    assert late.exception().code is grpc.StatusCode.UNAVAILABLE
    details = "The batch scheduling queue to which this task was submitted is full"
    assert late.exception().details == details


def test_nobody_waits_past_a_deadline_and_dead_work_is_not_run():
    model = Doubler()
    model.go.clear()
    with batching(max_batch_size=2) as (batcher, _), ThreadPoolExecutor(1) as pool:
        busy = pool.submit(ask, batcher, model, 1.0)
        wait_for(lambda: model.batches)
        with pytest.raises(RequestError) as late:
            ask(batcher, model, 2.0, seconds=0.05)
        model.go.set()
        assert busy.result() == [2.0] and ask(batcher, model, 3.0) == [6.0]
    assert late.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert model.batches == [[1.0], [3.0]]


@pytest.mark.parametrize(
    "inputs, details",
    [
        ({}, "Batching Run() must have at least one input tensor"),
        ({"x": np.float32(1)}, "Batching Run() input tensors must have at least one dimension"),
        (
            {"x": np.zeros(2), "z": np.zeros(3)},
            "Batching Run() input tensors must have equal 0th-dimension size",
        ),
        ({"x": np.zeros(9)}, "Task size 9 is larger than maximum input batch size 8"),
    ],
)
def test_what_can_not_be_batched_is_refused(inputs, details):
    with batching(max_batch_size=8) as (batcher, _), pytest.raises(RequestError) as caught:
        batcher.run(
            Doubler(),
            "double",
            {name: np.asarray(array) for name, array in inputs.items()},
            Caller(5),
        )
    assert (caught.value.code, caught.value.details) == (grpc.StatusCode.INVALID_ARGUMENT, details)


@pytest.mark.parametrize(
    "name, details",
    [
        ("flat", "Batched output tensor has 0 dimensions"),
        (
            "short",
            "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension "
            "sizes of the input tensors",
        ),
    ],
)
def test_outputs_without_a_row_each_are_refused(name, details):
    with batching(max_batch_size=8) as (batcher, _), pytest.raises(RequestError) as caught:
        ask(batcher, Doubler(), 1.0, 2.0, name=name)
    assert (caught.value.code, caught.value.details) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        details,
    )


def test_empty_request_runs_alone():
    model = Doubler()
    with batching(max_batch_size=8, allowed_batch_sizes=(4, 8)) as (batcher, _):
        assert ask(batcher, model) == []
    assert model.batches == [[]]


def test_rows_of_other_shapes_are_named():
    model = Doubler()
    with batching(max_batch_size=8) as (batcher, _):
        model.go.clear()
        with ThreadPoolExecutor(3) as pool:
            first = pool.submit(ask, batcher, model, 1.0)
            wait_for(lambda: model.batches)
            flat = pool.submit(ask, batcher, model, 1.0)
            wait_for(lambda: waiting(batcher) == 1)
            square = pool.submit(batcher.run, model, "double", {"x": np.zeros([1, 2])}, Caller(5))
            wait_for(lambda: waiting(batcher) == 2)
            model.go.set()
            assert first.result() == [2.0]
        for future in (flat, square):
            assert "Tensors with name 'x' from different tasks" in str(future.exception())


def test_failure_of_a_batch_reaches_everybody_in_it_and_nobody_else():
    model = Doubler()
    with batching(max_batch_size=8) as (batcher, _):
        model.error = RequestError(grpc.StatusCode.INVALID_ARGUMENT, "no image")
        with pytest.raises(RequestError, match="no image"):
            ask(batcher, model, 1.0)
        model.error = ZeroDivisionError("oh")
        with pytest.raises(RequestError, match="ZeroDivisionError: oh") as caught:
            ask(batcher, model, 1.0)
        assert caught.value.code is grpc.StatusCode.INTERNAL
        model.error = None
        assert ask(batcher, model, 1.0) == [2.0]  # the thread lives


def test_stop_answers_those_who_still_wait():
    model = Doubler()
    model.go.clear()
    batcher = Batcher(BatchingOptions(max_batch_size=1, num_threads=1), Metrics())
    with ThreadPoolExecutor(3) as pool:
        busy, queued = (pool.submit(ask, batcher, model, value) for value in (1.0, 2.0))
        wait_for(lambda: model.batches and waiting(batcher) == 1)
        stopping = pool.submit(batcher.stop)
        wait_for(lambda: batcher._stopped)
        model.go.set()
        stopping.result()
        codes = [getattr(future.exception(), "code", None) for future in (busy, queued)]
    assert sorted(code is grpc.StatusCode.UNAVAILABLE for code in codes) == [False, True]


def test_many_requests_at_random_get_their_own_answers():
    model, rng = Doubler(), np.random.default_rng(0)
    rows = [tuple(rng.integers(0, 1000, rng.integers(1, 5)).tolist()) for _ in range(300)]
    sizes = (1, 2, 4, 8)
    options = {"max_batch_size": 8, "allowed_batch_sizes": sizes, "num_threads": 2}
    with batching(**options) as (batcher, _), ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda row: ask(batcher, model, *row), rows))
    assert answers == [[2 * value for value in row] for row in rows]
    assert {len(batch) for batch in model.batches} <= set(sizes)
    assert len(model.batches) < 300


def write(path, text: str):
    (path / "batching.config").write_text(text)
    return path / "batching.config"


def test_file_is_read(tmp_path):
    path = write(
        tmp_path,
        "max_batch_size { value: 8 } batch_timeout_micros { value: 1500 }\n"
        "max_enqueued_batches { value: 3 }"
        'num_batch_threads { value: 2 } thread_pool_name { value: "x" } # comment\n'
        "allowed_batch_sizes: 2 allowed_batch_sizes: 8",
    )
    assert read_batching(path) == BatchingOptions(8, 0.0015, 3, 2, (2, 8))
    assert read_batching(write(tmp_path, "")) == BatchingOptions()


@pytest.mark.parametrize(
    "text, message",
    [
        ("max_batch: 3", 'is no BatchingParameters text proto .*no field named "max_batch"'),
        ("max_batch_size: 3", "is no BatchingParameters text proto"),
        ("max_batch_size { value: 0 }", "max_batch_size 0 is below"),
        ("num_batch_threads { value: 0 }", "num_threads 0 is below"),
        ("batch_timeout_micros { value: -5 }", "batch_timeout_micros -5"),
        (
            "max_batch_size { value: 8 } allowed_batch_sizes: 4",
            "last of allowed_batch_sizes, 4, is not .* 8",
        ),
        ("max_batch_size { value: 4 } allowed_batch_sizes: [4, 2, 4]", "do not increase"),
        ("pad_variable_length_inputs: true", "pad_variable_length_inputs"),
    ],
)
def test_wrong_file_is_one_line(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_batching(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_missing_file_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match="none.config can't be read .No such file"):
        read_batching(tmp_path / "none.config")
