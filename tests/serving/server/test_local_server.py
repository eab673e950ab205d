"""The embedded server over its life: starting, swapping versions, refusing too much, stopping."""

import re
import shutil
import socket
import threading
import time
import urllib.request
from pathlib import Path

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from imgcap.errors import ServingError
from imgcap.files.model_folder import WARMUP_FILE
from serving.client import (
    BadImage,
    CaptionClient,
    ModelNotFound,
    Overloaded,
    ServerUnavailable,
    SignatureNotFound,
)
from serving.server.addresses import check_port
from serving.server.models.base_path import require_versions
from serving.server.models.predict import parse_predict
from serving.server.models.servable import LoadError, Servable
from serving.server.models.versions import LOAD_RETRIES, Versions
from serving.server.queue.caller import Caller
from serving.server.queue.gate import Gate
from serving.server.request_error import RequestError
from tests.support.toy_model import serve, write_toy_model
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def toys(tmp_path_factory) -> dict[str, Path]:
    """Two different toys, to be copied into place."""
    folder = tmp_path_factory.mktemp("toys")
    return {word: write_toy_model(folder / word / "1", word) for word in ("one", "two")}


@pytest.fixture
def base_path(tmp_path, toys) -> Path:
    publish(toys["one"], tmp_path / "imgcap", 1)
    return tmp_path / "imgcap"


def publish(model: Path, base_path: Path, version: int) -> None:
    shutil.copytree(model, base_path / f".{version}.partial")
    (base_path / f".{version}.partial").rename(base_path / str(version))


def write_warmup(version_path: Path, *image_bytes: bytes) -> None:
    (version_path / WARMUP_FILE).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(version_path / WARMUP_FILE)) as writer:
        for row in image_bytes:
            log = PredictionLog()
            log.predict_log.request.model_spec.signature_name = "raises"
            log.predict_log.request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([row]))
            writer.write(log.SerializeToString())


def test_numbered_folders_are_versions_and_nothing_else(tmp_path):
    for name in ("1", "10", "9", "x", "-3", "2.tmp", ".11.partial", "²"):
        (tmp_path / name).mkdir()
    (tmp_path / "12").touch()
    assert sorted(require_versions(tmp_path)) == [1, 9, 10]


@pytest.mark.parametrize(
    "name, message",
    [
        ("missing", "missing does not exist: export a model with imgcap-export --output_dir="),
        ("empty", "empty has no version, a folder named with a number: export a model"),
        ("itself/1", "is a version itself: give its parent, --model_base_path=.*itself$"),
    ],
)
def test_nothing_to_serve_is_one_line(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "itself" / "1").mkdir(parents=True)
    (tmp_path / "itself" / "1" / "saved_model.pb").touch()
    with pytest.raises(ServingError, match=message):
        serve(tmp_path / name).start()


@pytest.mark.parametrize("damage", ["cut graph", "no graph", "no variables"])
def test_broken_version_is_one_line(base_path, damage):
    graph = base_path / "1" / "saved_model.pb"
    if damage == "cut graph":
        graph.write_bytes(graph.read_bytes()[:-100])
    elif damage == "no graph":
        graph.unlink()
    else:
        shutil.rmtree(base_path / "1" / "variables")
    with pytest.raises(
        ServingError, match="imgcap/1 can't be loaded .*: export it again"
    ) as caught:
        serve(base_path).start()
    assert "\n" not in str(caught.value)


def test_port_in_use_is_one_line(base_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ServingError, match=f"port {port} on 127.0.0.1 is in use: .*--port"):
            serve(base_path, port=port).start()
    with serve(base_path) as first, pytest.raises(ServingError, match="in use"):
        serve(base_path, port=first.port).start()


def test_unknown_host_is_one_line(base_path):
    with pytest.raises(ServingError, match="host no.such.host.invalid is not known"):
        serve(base_path, host="no.such.host.invalid").start()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize(
    "host, target, others",
    [
        ("::1", r"\[::1\]:\d+", ()),
        ("[::1]", r"\[::1\]:\d+", ()),
        ("::", r"localhost:\d+", ("127.0.0.1", "[::1]")),
        ("localhost", r"localhost:\d+", ()),
    ],
)
def test_ipv6_is_listened_on_and_named_in_brackets(base_path, host, target, others):
    with serve(base_path, host=host, rest_api_port=0) as server:
        assert re.fullmatch(target, server.target) and re.fullmatch(target, server.rest_target)
        for address in (server.target, *(f"{other}:{server.port}" for other in others)):
            with CaptionClient(address) as client:
                assert client.caption(b"four").text == "one image of 4 bytes"
        url = f"http://{server.rest_target}/v1/models/imgcap"
        assert urllib.request.urlopen(url, timeout=5).status == 200
        with pytest.raises(ServingError, match=f"port {server.port} on .* is in use"):
            serve(base_path, host=host, port=server.port).start()


def test_name_with_several_addresses_is_tried_on_each(monkeypatch):
    """An address that this machine does not have is passed over; a port that is taken is not."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        stream = (socket.SOCK_STREAM, 6, "")
        away = (socket.AF_INET, *stream, ("192.0.2.1", port))
        here = (socket.AF_INET, *stream, ("127.0.0.1", port))
        for found, message in (
            ([away, here], "is in use"),
            ([away], "can't listen on two.test:"),
            ([away, (socket.AF_INET, *stream, ("127.0.0.1", 0))], None),
        ):
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, found=found, **__: found)
            if message is None:
                check_port("two.test", port)
            else:
                with pytest.raises(ServingError, match=message):
                    check_port("two.test", port)


def test_new_version_takes_over_without_a_gap(base_path, toys):
    with (
        serve(base_path, poll_seconds=0.05) as server,
        CaptionClient(server.target, retries=0) as client,
    ):
        seen, ended, failures = [], threading.Event(), []

        def keep_asking():
            while not ended.is_set():
                try:
                    caption = client.caption(b"four")
                    seen.append((caption.version, caption.text))
                except ServingError as error:
                    failures.append(error)

        asker = threading.Thread(target=keep_asking)
        asker.start()
        publish(toys["two"], base_path, 2)
        wait_for(lambda: seen and seen[-1][0] == 2)
        ended.set()
        asker.join()
        statuses = [(status.version, status.state) for status in client.status()]
    assert not failures
    assert sorted(set(seen)) == [(1, "one image of 4 bytes"), (2, "two image of 4 bytes")]
    assert seen == sorted(seen)  # never back
    assert statuses == [(1, "END"), (2, "AVAILABLE")]


def test_broken_new_version_leaves_the_old_one(base_path, toys, caplog):
    with serve(base_path, poll_seconds=0.05) as server, CaptionClient(server.target) as client:
        (base_path / "2").mkdir()
        (base_path / "2" / "saved_model.pb").write_bytes(b"nonsense")
        wait_for(lambda: len(client.status()) == 2)
        wait_for(lambda: client.status()[1].message)
        old, new = client.status()
        assert (old.version, old.state, new.version, new.state) == (1, "AVAILABLE", 2, "LOADING")
        assert "imgcap/2 can't be loaded" in new.message
        assert client.caption(b"four").version == 1
        publish(toys["two"], base_path, 3)
        wait_for(lambda: client.caption(b"four").version == 3)
    assert "version 1 goes on" in caplog.text


def test_broken_version_is_tried_again_and_then_given_up(base_path, monkeypatch):
    monkeypatch.setattr("serving.server.models.versions.LOAD_RETRY_SECONDS", 0.0)
    versions = Versions("imgcap", base_path)
    versions.load_first()
    (base_path / "2").mkdir()
    attempts = []
    monkeypatch.setattr(
        "serving.server.models.versions.Servable",
        lambda path, *_: attempts.append(path) or broken(),
    )
    for _ in range(10):
        versions.poll()
    assert len(attempts) == 1 + LOAD_RETRIES
    spec = ModelSpec(name="imgcap")
    assert [(status.version, status.state) for status in versions.statuses(spec)] == [
        (2, 50),
        (1, 30),
    ]
    assert versions.find(None).version == 1


def broken() -> None:
    raise LoadError("broken")


def test_removed_version_gives_way_to_the_one_before(base_path, toys):
    publish(toys["two"], base_path, 2)
    versions = Versions("imgcap", base_path)
    versions.load_first()
    assert versions.find(None).version == 2
    shutil.rmtree(base_path / "2")
    versions.poll()
    assert versions.find(None).version == 1


def test_folder_that_vanishes_does_not_end_the_server(base_path):
    with serve(base_path, poll_seconds=0.02) as server, CaptionClient(server.target) as client:
        shutil.rmtree(base_path)
        time.sleep(0.2)
        assert client.caption(b"four").text == "one image of 4 bytes"


def test_warmup_requests_are_replayed_and_must_succeed(base_path):
    pixel = tf.io.encode_png(tf.zeros([1, 1, 3], tf.uint8)).numpy()
    write_warmup(base_path / "1", pixel, pixel)
    assert Servable(base_path / "1").version == 1
    write_warmup(base_path / "1", pixel, b"not an image")
    with pytest.raises(
        LoadError, match=f"{WARMUP_FILE} has a request that fails .Unknown image file format"
    ):
        Servable(base_path / "1")


def test_server_answers_after_the_first_warmup_request(base_path, caplog):
    """The others run meanwhile, and one that fails is the server's failure all the same."""
    caplog.set_level("INFO")
    pixel = tf.io.encode_png(tf.zeros([1, 1, 3], tf.uint8)).numpy()
    write_warmup(base_path / "1", *[pixel] * 3)
    with serve(base_path, warm_later=True) as server, CaptionClient(server.target) as client:
        assert client.caption(b"four").text == "one image of 4 bytes"
        wait_for(lambda: "model_warmup_latency_count" in server.metrics.text())
        assert server.failure is None
    path = base_path / "1"
    assert f"loading imgcap version 1 from {path}" in caplog.text
    assert "warming up imgcap version 1: request 1 of 3" in caplog.text
    write_warmup(path, pixel, pixel, b"not an image")
    with serve(base_path, warm_later=True) as server:
        wait_for(lambda: server.failure)
    assert "has a request that fails" in str(server.failure)
    assert "export it again with imgcap-export" in str(server.failure)
    write_warmup(path, b"not an image", pixel)
    with pytest.raises(ServingError, match="has a request that fails"):
        serve(base_path, warm_later=True).start()


def test_graph_for_another_cpu_is_refused_and_the_old_one_goes_on(base_path, toys, monkeypatch):
    only_avx2 = lambda required: [name for name in required if name != "avx2"]  # noqa: E731
    monkeypatch.setattr("serving.server.models.servable.missing_cpu_features", only_avx2)
    with serve(base_path, poll_seconds=0.05) as server, CaptionClient(server.target) as client:
        (base_path / "1" / "manifest.json").write_text('{"cpu_features": ["avx2"]}')
        publish(toys["two"], base_path, 2)
        wait_for(lambda: client.caption(b"four").version == 2)
        shutil.copytree(toys["one"], base_path / "_3")
        (base_path / "_3" / "manifest.json").write_text('{"cpu_features": ["avx512_bf16", "avx2"]}')
        (base_path / "_3").rename(base_path / "3")
        wait_for(lambda: len(client.status()) == 3 and client.status()[-1].message)
        message = client.status()[-1].message
        assert "imgcap/3 needs a CPU with avx512_bf16" in message and "--optimize=none" in message
        assert client.caption(b"four").version == 2


def test_broken_manifest_is_one_line(base_path):
    (base_path / "1" / "manifest.json").write_text("{")
    with pytest.raises(LoadError, match="manifest.json can't be read"):
        Servable(base_path / "1")


def test_missing_input_takes_the_default_of_its_signature(base_path):
    servable = Servable(base_path / "1")
    default = tf.make_tensor_proto([b"12345"])
    servable.signature_defs["decode"].defaults["image_bytes"].CopyFrom(default)
    request = PredictRequest()
    request.model_spec.signature_name = "decode"
    call = parse_predict(servable, request)
    assert servable.run(call.signature_name, call.inputs)["caption"].tolist() == [
        b"one image of 5 bytes"
    ]


def test_too_many_requests_are_refused_at_once_and_the_rest_answered(base_path):
    with (
        serve(base_path, max_threads=4) as server,
        CaptionClient(server.target, signature="slow", retries=0, timeout=60) as client,
    ):
        started = time.monotonic()
        outcomes = list(client.caption_many([b"four"] * 12, concurrency=12))
        seconds = time.monotonic() - started
        refused = [outcome.error for outcome in outcomes if outcome.error]
        with CaptionClient(server.target) as other:
            assert (
                other.caption(b"four").text == "one image of 4 bytes"
            )  # and afterwards all is well
    assert 1 <= len(refused) <= 8 and {type(error) for error in refused} == {Overloaded}
    assert "Server Threadpool Exhausted" in str(refused[0]) and seconds < 30


def test_calls_that_send_nothing_keep_nobody_out(base_path):
    """Each holds a thread of the server until its caller ends it."""
    ended = threading.Event()

    def nothing():
        ended.wait(60)
        yield from ()

    method = "/tensorflow.serving.PredictionService/Predict"
    with serve(base_path, max_threads=4) as server, grpc.insecure_channel(server.target) as channel:
        silent = [channel.stream_unary(method).future(nothing()) for _ in range(40)]
        try:
            # A call begins when its caller's thread comes to it.
            wait_for(lambda: sum(t.name.startswith("grpc_") for t in threading.enumerate()) >= 40)
            with CaptionClient(server.target, timeout=10) as client:
                assert client.caption(b"1234").text.startswith("one")
        finally:
            ended.set()
            for call in silent:
                call.cancel()


def test_gate_lets_few_run_and_a_bounded_number_wait():
    gate, inside, release = Gate(waiting=2, running=1), threading.Event(), threading.Event()

    def occupy():
        with gate.place(1), gate.turn(Caller()):
            inside.set()
            release.wait(5)

    occupant = threading.Thread(target=occupy)
    occupant.start()
    inside.wait(5)
    with pytest.raises(RequestError) as late, gate.place(1), gate.turn(Caller(0.05)):
        pass

    def wait():
        with gate.place(1), gate.turn(Caller(5)):
            pass

    waiter = threading.Thread(target=wait)
    waiter.start()
    wait_for(lambda: gate.requests == 2)
    with pytest.raises(RequestError) as refused, gate.place(1):
        pass
    release.set()
    occupant.join()
    waiter.join()
    assert late.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert refused.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_stopping_finishes_what_is_under_way(base_path):
    server = serve(base_path)
    server.start()
    with CaptionClient(server.target, signature="slow", retries=0, timeout=30) as client:
        client.caption(b"warm")
        answers: list[str] = []
        asker = threading.Thread(target=lambda: answers.append(client.caption(b"four").text))
        asker.start()
        time.sleep(0.15)
        server.stop(grace_seconds=20)
        asker.join()
        assert answers == ["one image of 4 bytes"]
        with pytest.raises(ServerUnavailable):
            client.caption(b"four")


def test_client_and_server_together(base_path):
    with serve(base_path) as server, CaptionClient(server.target) as client:
        assert client.wait_until_ready(5) == 1
        assert client.describe() == {"word": "one"}
        assert client.signatures() == ("decode", "describe", "raises", "serving_default", "slow")
        caption = client.caption(b"four")
        assert [other.text for other in caption.alternatives] == [
            "one image of 4 bytes",
            "one image of 4 bytes or so",
            "one image of 4 bytes I think",
        ]
        assert len(caption.tokens) == len(caption.token_log_probs) == 5
        with pytest.raises(BadImage, match="not an image"):
            client.caption(b"bad")


def test_metrics_port_has_what_was_counted(base_path, toys):
    pixel = tf.io.encode_png(tf.zeros([1, 1, 3], tf.uint8)).numpy()
    write_warmup(base_path / "1", pixel)
    with (
        serve(base_path, metrics_port=0) as server,
        CaptionClient(server.target, retries=0) as client,
    ):
        client.caption(b"four")
        with CaptionClient(server.target, model="nope") as other, pytest.raises(ModelNotFound):
            other.caption(b"four")
        url = f"http://{server.metrics_target}/monitoring/prometheus/metrics"
        text = urllib.request.urlopen(url, timeout=5).read().decode()
    assert ':tensorflow:serving:request_count{model_name="imgcap",status="OK"} 1\n' in text
    # a stranger's name makes no series
    assert ':tensorflow:serving:request_count{model_name="",status="NOT_FOUND"} 1\n' in text
    assert f'model_warmup_latency_count{{model_path="{base_path / "1"}",status="OK"}} 1\n' in text


def test_requests_are_logged_without_their_content(base_path, caplog):
    caplog.set_level("INFO")
    with serve(base_path, log_requests=True) as server, CaptionClient(server.target) as client:
        client.caption(b"four")
        with (
            CaptionClient(server.target, signature="bogus") as other,
            pytest.raises(SignatureNotFound),
        ):
            other.caption(b"secret")
    good, bad = (record for record in caplog.records if getattr(record, "api", "") == "Predict")
    assert (good.model, good.status) == ("imgcap", "OK") and good.milliseconds > 0
    assert (
        bad.status == "FAILED_PRECONDITION"
        and "bogus" in bad.details
        and "secret" not in caplog.text
    )
