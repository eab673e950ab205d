"""The queue by itself: who may come in, whose turn it is, and what is not computed any more."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from serving.client import CaptionClient, DeadlineExceeded
from serving.server.metrics import Metrics
from serving.server.models.predict import PREDICT
from serving.server.models.servable import Servable
from serving.server.queue.batching import Batcher
from serving.server.queue.caller import Caller
from serving.server.queue.gate import Gate
from serving.server.queue.options import BatchingOptions
from serving.server.queue.slices import SLICE_ROWS, count_rows, has_fixed_rows, run_in_slices
from serving.server.request_error import RequestError
from serving.wire import wire_pb2
from serving.wire.tensors import Stub, string_tensor
from tests.support.toy_model import serve, write_toy_model
from tests.support.waiting import wait_for


class Doubler:
    """Doubles `x`; remembers what it was given; waits at will."""

    def __init__(self) -> None:
        self.given: list[list[float]] = []
        self.go = threading.Event()
        self.go.set()

    def run(self, signature_name: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.given.append(inputs["x"].tolist())
        assert self.go.wait(10)
        return {"y": inputs["x"] * 2}


def refused(call) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(RequestError) as caught:
        call()
    return caught.value.code, caught.value.details


def enter(gate: Gate, size: int) -> None:
    with gate.place(size):
        pass


def test_requests_inside_are_bounded_in_bytes():
    gate = Gate(waiting=9, running=1, max_bytes=100)
    with gate.place(60):
        enter(gate, 40)
        code, details = refused(lambda: enter(gate, 41))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "41 bytes" in details and "60 bytes" in details and "100" in details
    enter(gate, 100)
    assert refused(lambda: enter(gate, 101))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert gate.requests == 0


@pytest.mark.parametrize("cpus", [1, 2, 3, 8])
def test_large_requests_leave_turns_to_small_ones(cpus):
    """However many large ones wait, small ones have all their turns."""
    gate, large, release = Gate(99, cpus), [], threading.Event()

    def run(is_large: bool) -> None:
        with gate.turn(Caller(10), is_large):
            if is_large:
                large.append(1)
                release.wait(10)

    with ThreadPoolExecutor(32) as pool:
        waiting = [pool.submit(run, True) for _ in range(16)]
        wait_for(lambda: len(large) == max(1, cpus // 2))
        for _ in range(cpus):
            run(False)
        assert len(large) == max(1, cpus // 2)
        release.set()
        assert [each.result() for each in waiting] == [None] * 16


def test_slices_of_large_requests_take_turns():
    """Each gives its turn to whoever waits longest, so no large request waits for a whole one."""
    gate, order = Gate(9, 1), []

    class Recorder:
        def __init__(self, name: str) -> None:
            self.name = name

        def run(self, signature_name, inputs):
            order.append(self.name)
            if len(order) == 1:
                wait_for(lambda: len(gate._large._queue) == 1)  # the other is there
            return inputs

    def run(name: str) -> int:
        rows = {"x": np.zeros(3 * SLICE_ROWS)}
        turn = lambda: gate.turn(Caller(10), large=True)  # noqa: E731
        return len(run_in_slices(Recorder(name), "s", rows, turn)["x"])

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run, "a")
        wait_for(lambda: order)
        second = pool.submit(run, "b")
        assert (first.result(), second.result()) == (3 * SLICE_ROWS, 3 * SLICE_ROWS)
    assert order == ["a", "b", "a", "b", "a", "b"]


def test_slices_answer_as_the_whole():
    model, rows = Doubler(), np.arange(2.0 * SLICE_ROWS + 3)
    outputs = run_in_slices(model, "s", {"x": rows}, lambda: Gate(9, 1).turn(Caller()))
    assert outputs["y"].tolist() == (2 * rows).tolist()
    assert [len(part) for part in model.given] == [SLICE_ROWS, SLICE_ROWS, 3]


def test_between_slices_the_caller_is_looked_at():
    model, gate = Doubler(), Gate(9, 1)
    caller = Caller(10, lambda: len(model.given) == 2)
    turn = lambda: gate.turn(caller, large=True)  # noqa: E731
    rows = {"x": np.zeros(5 * SLICE_ROWS)}
    assert refused(lambda: run_in_slices(model, "s", rows, turn)) == (
        grpc.StatusCode.CANCELLED,
        "The caller went away",
    )
    assert len(model.given) == 2
    with gate.turn(Caller(), large=True):  # the turn is free again
        pass


def test_caller_who_leaves_the_queue_gives_nobody_a_wrong_turn():
    gate, gone = Gate(9, 1), threading.Event()
    with gate.turn(Caller()), ThreadPoolExecutor(1) as pool:
        leaving = pool.submit(lambda: gate.turn(Caller(10, gone.is_set)).__enter__())
        wait_for(lambda: len(gate._small._queue) == 1)
        gone.set()
        assert leaving.exception().code is grpc.StatusCode.CANCELLED
        assert refused(lambda: gate.turn(Caller(0.05)).__enter__()) == (
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "Deadline exceeded before the model was free",
        )
    with gate.turn(Caller(0.5)):
        pass


def test_rows_are_counted_on_dimension_0():
    assert count_rows({"x": np.zeros([9, 2]), "y": np.zeros(9)}) == 9
    assert count_rows({"x": np.float32(1)}) == 1
    assert count_rows({"x": np.zeros(3), "y": np.zeros(4)}) == 1
    assert count_rows({}) == 1


@pytest.mark.parametrize(
    "inputs, outputs, fixed",
    [
        ([[-1]], [[-1], [-1, 3, 5]], True),
        ([[-1], [-1, 64, 8]], [[-1]], True),
        ([[-1]], [[-1, -1]], False),  # as long as the longest caption of all rows
        ([[-1]], [[]], False),
        ([[4]], [[4]], False),
        ([], [[-1]], False),
        ([None], [[-1]], False),
    ],
)
def test_rows_are_fixed_if_every_output_has_one_for_each(inputs, outputs, fixed):
    signature = SignatureDef()
    for infos, shapes in ((signature.inputs, inputs), (signature.outputs, outputs)):
        for number, shape in enumerate(shapes):
            info = infos[str(number)].tensor_shape
            info.unknown_rank = shape is None
            for size in shape or ():
                info.dim.add(size=size)
    assert has_fixed_rows(signature) == fixed


def test_who_went_away_is_not_in_the_batch():
    model, gone = Doubler(), threading.Event()
    batcher = Batcher(BatchingOptions(8, num_threads=1, timeout_seconds=0.0), Metrics())

    def ask(value: float, caller: Caller) -> list[float]:
        return batcher.run(model, "s", {"x": np.array([value])}, caller)["y"].tolist()

    model.go.clear()
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(ask, 1.0, Caller(10))
        wait_for(lambda: model.given)
        leaving = pool.submit(ask, 2.0, Caller(10, gone.is_set))
        staying = pool.submit(ask, 3.0, Caller(10))
        wait_for(lambda: sum(len(queue.tasks()) for queue in batcher._queues.values()) == 2)
        gone.set()
        model.go.set()
        assert leaving.exception().code is grpc.StatusCode.CANCELLED
        assert (first.result(), staying.result()) == ([2.0], [6.0])
    batcher.stop()
    assert model.given == [[1.0], [3.0]]


def test_error_of_a_batch_holds_none_of_its_arrays():
    """Each task has an error of its own, without a traceback that leads to the others' rows."""

    def fail(signature_name, inputs):
        raise RequestError(grpc.StatusCode.INVALID_ARGUMENT, "no image")

    batcher = Batcher(BatchingOptions(8, num_threads=1), Metrics())
    with pytest.raises(RequestError, match="no image") as caught:
        batcher.run(SimpleNamespace(run=fail), "s", {"x": np.zeros(3)}, Caller(10))
    batcher.stop()
    functions = [entry.frame.code.name for entry in caught.traceback]
    assert "_run_batch" not in functions and "fail" not in functions


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A toy that says that imgcap-export wrote it."""
    base_path = tmp_path_factory.mktemp("models") / "imgcap"
    write_toy_model(base_path / "1")
    (base_path / "1" / "manifest.json").write_text("{}")
    return base_path


@pytest.fixture
def runs(monkeypatch) -> list[int]:
    """The rows of each run of any model in this process."""
    rows, run = [], Servable.run

    def counted(self, signature_name, inputs):
        rows.append(len(next(iter(inputs.values()))))
        return run(self, signature_name, inputs)

    monkeypatch.setattr(Servable, "run", counted)
    return rows


def many(rows: int, signature: str) -> wire_pb2.PredictRequest:
    request = wire_pb2.PredictRequest(
        inputs={"image_bytes": string_tensor([b"x" * (1 + row % 7) for row in range(rows)])}
    )
    request.model_spec.name, request.model_spec.signature_name = "imgcap", signature
    return request


@pytest.mark.parametrize("batching", [None, BatchingOptions(256, num_threads=1)])
def test_large_request_runs_in_slices_and_only_as_long_as_somebody_waits(exported, runs, batching):
    with (
        serve(exported, batching=batching) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        predict = Stub(channel).predict
        captions = predict(many(20, "decode"), timeout=20).outputs["caption"].string_val
        assert list(captions) == [f"an image of {1 + row % 7} bytes".encode() for row in range(20)]
        assert runs == [8, 8, 4]
        call = predict.future(many(200, "slow"), timeout=60)
        wait_for(lambda: len(runs) > 4)
        call.cancel()
        wait_for(lambda: server._predictor._gate.requests == 0)
        left_off = len(runs)
        assert left_off < 3 + 25  # that many slices if all had run
        with CaptionClient(server.target) as client:
            assert client.caption(b"four").text == "an image of 4 bytes"
        assert runs[left_off:] == [1]


def test_small_requests_are_answered_while_large_ones_run(exported, runs):
    with serve(exported) as server, grpc.insecure_channel(server.target) as channel:
        predict = Stub(channel).predict
        large = [predict.future(many(400, "slow"), timeout=60) for _ in range(3)]
        wait_for(lambda: len(runs) > 2)
        with CaptionClient(server.target) as client:
            for _ in range(5):
                assert client.caption(b"four").text == "an image of 4 bytes"
        assert not any(call.done() for call in large)
        for call in large:
            call.cancel()


def test_call_that_came_too_late_is_not_computed(exported, runs):
    with serve(exported) as server, CaptionClient(server.target, timeout=0.2, retries=0) as client:
        gate = server._predictor._gate
        with ExitStack() as turns:
            for _ in range(gate._small._free):
                turns.enter_context(gate.turn(Caller()))
            with pytest.raises(DeadlineExceeded):
                client.caption(b"four")
            wait_for(lambda: gate.requests == 0)
        assert not runs
        with pytest.raises(RequestError, match="Deadline"):
            server._predictor.answer(PREDICT, PredictRequest(), 0.0, "GRPC")


def test_requests_above_the_limit_in_bytes_are_refused(exported):
    with (
        serve(exported, max_request_bytes=1_000_000) as server,
        CaptionClient(server.target, retries=0) as client,
    ):
        assert client.caption(b"x" * 900_000).text == "an image of 900000 bytes"
        with pytest.raises(Exception, match="larger than max|finds no room"):
            client.caption(b"x" * 1_100_000)
        assert client.caption(b"four").text == "an image of 4 bytes"
