"""The client against small hand-made servers, whose answers and failures are known beforehand."""

import asyncio
import dataclasses
import io
import itertools
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import pytest
from PIL import Image

from imgcap.errors import ConfigError, ServingError
from imgcap.host.progress import Progress
from serving.client import (
    AsyncCaptionClient,
    BadImage,
    CaptionClient,
    DeadlineExceeded,
    Hypothesis,
    ModelNotFound,
    Overloaded,
    RequestRefused,
    ServerUnavailable,
    SignatureNotFound,
    connection,
)
from serving.wire import wire_pb2
from tests.support.fake_server import (
    answer_for,
    failing,
    length_of,
    numbers,
    serving,
    strings,
)
from tests.support.paths import ROOT
from tests.support.servers import free_port


def test_caption_has_all_that_the_server_says():
    with (
        serving(lambda request, context: answer_for("a dog")) as target,
        CaptionClient(target) as client,
    ):
        caption = client.caption(b"jpeg")
    assert (caption.text, caption.score, caption.version) == ("a dog", -0.5, 4)
    assert caption.tokens == (5, 6, 3) and caption.token_log_probs == (-0.25, -0.5, -0.125)
    assert caption.words == (("a", -0.25), ("dog", -0.5))
    assert [(other.text, other.score) for other in caption.alternatives] == [
        ("a dog", -0.5),
        ("second", -0.75),
    ]
    assert 0 < caption.seconds < 5


def test_caption_and_score_are_enough():
    def bare(request, context):
        return wire_pb2.PredictResponse(
            outputs={"caption": strings(["ein Hund 🐕"], 1), "score": numbers([-1], 1)}
        )

    with serving(bare) as target, CaptionClient(target) as client:
        caption = client.caption(b"jpeg")
    assert caption.text == "ein Hund 🐕" and caption.words[0] == ("ein", None)
    assert [other.text for other in caption.alternatives] == ["ein Hund 🐕"]


def test_confidence_belongs_to_its_caption():
    answer = answer_for("a dog", confidence=(0.75, 0.125))
    with serving(lambda request, context: answer) as target:
        with CaptionClient(target) as client:
            caption = client.caption(b"jpeg")
        awaited = run_async(target, lambda client: client.caption(b"jpeg"))
    assert caption.confidence == awaited.confidence == 0.75
    assert [other.confidence for other in caption.alternatives] == [0.75, 0.125]


def test_no_confidence_of_a_model_that_is_not_calibrated():
    with (
        serving(lambda request, context: answer_for("a dog")) as target,
        CaptionClient(target) as client,
    ):
        caption = client.caption(b"jpeg")
    assert [caption.confidence, *(other.confidence for other in caption.alternatives)] == [None] * 3


def test_answer_of_another_model_is_named():
    other = wire_pb2.PredictResponse(outputs={"probabilities": numbers([1], 1)})
    with (
        serving(lambda request, context: other) as target,
        CaptionClient(target) as client,
        pytest.raises(RequestRefused, match="probabilities and no caption"),
    ):
        client.caption(b"jpeg")


@pytest.mark.parametrize("awaits", [False, True])
def test_details_of_an_export_that_has_them_under_decode(awaits):
    asked = []

    def answer(request, context):
        asked.append(request.model_spec.signature_name)
        if asked[-1] not in ("decode", "greedy"):
            missing = f'Serving signature key "{asked[-1]}" not found.'
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, missing)
        return answer_for("x")

    async def wait_for(target):
        async with AsyncCaptionClient(target, signature="decode_details") as client:
            return await client.caption(b"jpeg")

    with serving(answer) as target:
        if awaits:
            caption = asyncio.run(wait_for(target))
        else:
            with CaptionClient(target, signature="decode_details") as client:
                caption = client.caption(b"jpeg")
        assert asked == ["decode_details", "decode"] and caption.token_log_probs
        with CaptionClient(target, signature="other") as client, pytest.raises(SignatureNotFound):
            client.caption(b"jpeg")
    assert asked[2:] == ["other"]


@pytest.mark.parametrize("version, label", [(None, None), (3, None), (None, "canary")])
def test_request_names_model_version_and_signature(version, label):
    seen = []

    def answer(request, context):
        seen.append(request)
        return answer_for("x")

    with (
        serving(answer) as target,
        CaptionClient(target, "m", version, label, signature="greedy") as client,
    ):
        client.caption(b"\0jpeg\0")
    spec = seen[0].model_spec
    assert (spec.name, spec.signature_name) == ("m", "greedy")
    assert spec.HasField("version") == (version is not None) and spec.version.value == (
        version or 0
    )
    assert spec.version_label == (label or "")
    assert seen[0].inputs["image_bytes"].string_val == [b"\0jpeg\0"]


def test_version_and_label_together_are_refused():
    with pytest.raises(ConfigError, match="choose one"):
        CaptionClient("localhost:1", version=1, label="stable")


def test_bytes_path_and_pillow_image_are_sent(tmp_path):
    photo = Image.new("RGB", (8, 6), "red")
    photo.save(tmp_path / "photo.png")
    file_bytes = (tmp_path / "photo.png").read_bytes()
    seen = []

    def answer(request, context):
        seen.append(request.inputs["image_bytes"].string_val[0])
        return answer_for("x")

    with serving(answer) as target, CaptionClient(target) as client:
        for source in (file_bytes, tmp_path / "photo.png", str(tmp_path / "photo.png"), photo):
            client.caption(source)
    assert seen[:3] == [file_bytes] * 3
    assert Image.open(io.BytesIO(seen[3])).tobytes() == photo.tobytes()


@pytest.mark.parametrize(
    "source, message",
    [
        (b"", "empty"),
        ("no/such.jpg", "can't be read: No such file"),
        (b"x" * (connection.MAX_IMAGE_BYTES + 1), "above the limit of 32 MB"),
        (b"bad news", "not an image"),
    ],
)
def test_bad_image_is_its_own_error(source, message):
    with (
        serving(length_of) as target,
        CaptionClient(target) as client,
        pytest.raises(BadImage, match=message),
    ):
        client.caption(source)


def test_image_above_every_default_limit_goes_through():
    with serving(length_of) as target, CaptionClient(target) as client:
        assert client.caption(b"x" * 20_000_000).text == "20000000"


def test_answer_above_the_default_limit_comes_through():
    large = answer_for("x")
    large.outputs["features"].CopyFrom(numbers([0.5] * 2_000_000, 1, 2_000_000))
    with serving(lambda request, context: large) as target, CaptionClient(target) as client:
        assert client.caption(b"jpeg").text == "x"


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_passing_trouble_is_tried_again(code):
    answer, asked = failing(code, "Server Threadpool Exhausted", times=2)
    with serving(answer) as target, CaptionClient(target) as client:
        # larger than gRPC's own retry buffer, like most photos
        assert client.caption(b"x" * 1_000_000).text == "at last"
    assert len(asked) == 3
    assert asked[2] - asked[1] > 0.02  # it paused


def test_retries_are_counted():
    answer, asked = failing(grpc.StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")
    with (
        serving(answer) as target,
        CaptionClient(target, retries=1) as client,
        pytest.raises(Overloaded),
    ):
        client.caption(b"jpeg")
    assert len(asked) == 2
    answer, asked = failing(grpc.StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")
    with (
        serving(answer) as target,
        CaptionClient(target, retries=0) as client,
        pytest.raises(Overloaded),
    ):
        client.caption(b"jpeg")
    assert len(asked) == 1
    with pytest.raises(ConfigError, match="retries 5"):
        CaptionClient("localhost:1", retries=5)


def test_retries_end_with_the_deadline():
    answer, asked = failing(grpc.StatusCode.UNAVAILABLE, "draining")
    started = time.monotonic()
    with (
        serving(answer) as target,
        CaptionClient(target, timeout=0.15, retries=4) as client,
        pytest.raises((DeadlineExceeded, ServerUnavailable)),
    ):
        client.caption(b"jpeg")
    assert time.monotonic() - started < 1 and len(asked) < 5


@pytest.mark.parametrize(
    "code, details, error, message",
    [
        (
            "INVALID_ARGUMENT",
            "Unknown image file format. One of JPEG, …\n\t [[node]]",
            BadImage,
            "Unknown image",
        ),
        (
            "INVALID_ARGUMENT",
            "jpeg::Uncompress failed. Invalid JPEG data\n\t [[",
            BadImage,
            "Uncompress",
        ),
        (
            "INVALID_ARGUMENT",
            "tensor parsing error: image_bytes",
            RequestRefused,
            "tensor parsing error",
        ),
        (
            "NOT_FOUND",
            "Servable not found for request: Latest(nope)",
            ModelNotFound,
            "Latest\\(nope\\)",
        ),
        (
            "INVALID_ARGUMENT",
            "Unrecognized servable version label: canary",
            ModelNotFound,
            "canary",
        ),
        ("FAILED_PRECONDITION", 'Serving signature key "x" not found.', SignatureNotFound, '"x"'),
        ("INTERNAL", "boom", RequestRefused, "boom \\(INTERNAL\\)"),
    ],
)
def test_refusals_are_typed_and_not_repeated(code, details, error, message):
    answer, asked = failing(grpc.StatusCode[code], details)
    with (
        serving(answer) as target,
        CaptionClient(target) as client,
        pytest.raises(error, match=message) as caught,
    ):
        client.caption(b"jpeg")
    assert len(asked) == 1
    assert type(caught.value) is error and "\n" not in str(caught.value)


def test_server_away_is_one_line_with_the_remedy():
    port = free_port()
    started = time.monotonic()
    with CaptionClient(f"127.0.0.1:{port}") as client, pytest.raises(ServerUnavailable) as caught:
        client.caption(b"jpeg")
    assert f"127.0.0.1:{port}" in str(caught.value) and "imgcap-serve --model_base_path=" in str(
        caught.value
    )
    assert isinstance(caught.value, ServingError) and time.monotonic() - started < 8


def test_server_that_comes_back_is_found():
    port = free_port()
    with CaptionClient(f"127.0.0.1:{port}", retries=0) as client:
        for _ in range(2):
            with serving(length_of, port):
                for _ in range(100):
                    try:
                        assert client.caption(b"four").text == "4"
                        break
                    except ServerUnavailable:
                        time.sleep(0.05)
                else:
                    pytest.fail("not found again within 5 s")
            with pytest.raises(ServerUnavailable):
                client.caption(b"four")


def test_slow_answer_is_a_deadline():
    def slow(request, context):
        time.sleep(0.5)
        return answer_for("late")

    with (
        serving(slow) as target,
        CaptionClient(target, timeout=0.1) as client,
        pytest.raises(DeadlineExceeded, match="within 0.1 s"),
    ):
        client.caption(b"jpeg")


def test_many_come_in_order_and_a_bad_one_costs_only_itself(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"12345")

    def uneven(request, context):
        row = request.inputs["image_bytes"].string_val[0]
        time.sleep(0.02 * (len(row) % 3))
        return length_of(request, context)

    sources = [b"a" * n for n in range(1, 20)] + [
        b"bad",
        tmp_path / "photo.jpg",
        "missing.jpg",
        b"good",
    ]
    with serving(uneven) as target, CaptionClient(target) as client:
        outcomes = list(client.caption_many(sources, concurrency=5))
    assert [outcome.source for outcome in outcomes] == sources
    texts = [outcome.caption.text if outcome.caption else None for outcome in outcomes]
    assert texts == [str(n) for n in range(1, 20)] + [None, "5", None, "4"]
    assert [type(outcome.error) for outcome in outcomes if outcome.error] == [BadImage, BadImage]


def test_many_reads_no_further_ahead_than_it_must():
    drawn = itertools.count()
    taken = 0

    def endless():
        for number in drawn:
            nonlocal taken
            taken = number + 1
            yield b"x" * (number + 1)

    with serving(length_of) as target, CaptionClient(target) as client:
        outcomes = client.caption_many(endless(), concurrency=3)
        for expected in range(1, 30):
            assert next(outcomes).caption.text == str(expected)
            assert taken <= expected + 2 * 3
        outcomes.close()


def test_many_runs_as_many_at_once_as_it_may():
    here, peak, lock = 0, 0, threading.Lock()

    def counting(request, context):
        nonlocal here, peak
        with lock:
            here += 1
            peak = max(peak, here)
        time.sleep(0.03)
        with lock:
            here -= 1
        return answer_for("x")

    with serving(counting) as target, CaptionClient(target) as client:
        assert len(list(client.caption_many([b"x"] * 24, concurrency=4))) == 24
    assert peak == 4


def test_large_photo_is_made_smaller_on_request():
    buffer = io.BytesIO()
    photo = Image.new("RGB", (800, 400), "navy")
    exif = photo.getexif()
    exif[0x0112] = 6  # the camera was held upright: shown turned by 90 degrees
    photo.save(buffer, "JPEG", exif=exif)
    seen = []

    def answer(request, context):
        seen.append(request.inputs["image_bytes"].string_val[0])
        return answer_for("x")

    with serving(answer) as target, CaptionClient(target, max_side=200) as client:
        client.caption(buffer.getvalue())
        client.caption(
            b"GIF89a\x01\x00\x01\x00\x00\xff\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x00;"
        )
        with pytest.raises(BadImage, match="not an image"):
            client.caption(b"text")
    small = Image.open(io.BytesIO(seen[0]))
    assert small.size == (100, 200) and not small.getexif().get(0x0112)
    assert seen[1].startswith(b"GIF")


def test_stream_captions_folders_and_globs(tmp_path):
    files = {"a.jpg": b"1", "deep/b.png": b"22", "notes.txt": b"333", "deep/c.gif": b"bad"}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with serving(length_of) as target, CaptionClient(target) as client:
        outcomes = list(client.stream(tmp_path, f"{tmp_path}/*.txt", concurrency=2))
    assert [(outcome.source, outcome.caption and outcome.caption.text) for outcome in outcomes] == [
        (f"{tmp_path}/a.jpg", "1"),
        (f"{tmp_path}/deep/b.png", "2"),
        (f"{tmp_path}/deep/c.gif", None),
        (f"{tmp_path}/notes.txt", "3"),
    ]


def test_progress_moves_with_each_outcome():
    stream = io.StringIO()
    bar = Progress("x", 3, "images", stream)
    with serving(length_of) as target, CaptionClient(target) as client, bar:
        for done, _ in enumerate(client.caption_many([b"a", b"bad", b"c"], 2, bar), start=1):
            assert bar._done == done
    assert "3/3" in stream.getvalue()


def test_attention_belongs_to_its_caption():
    answer = answer_for("a dog")
    answer.outputs["attention"].CopyFrom(numbers([i / 8 for i in range(24)], 1, 2, 3, 4))
    with serving(lambda request, context: answer) as target, CaptionClient(target) as client:
        caption = client.caption(b"jpeg")
    assert caption.attention == tuple(tuple((4 * t + i) / 8 for i in range(4)) for t in range(3))
    assert caption.alternatives[1].attention[0] == (1.5, 1.625, 1.75, 1.875)


def run_async(target: str, ask, **arguments):
    async def run():
        async with AsyncCaptionClient(target, **arguments) as client:
            return await ask(client)

    return asyncio.run(run())


def test_awaitable_twin_answers_as_the_other():
    with serving(lambda request, context: answer_for("a dog")) as target:
        mine = run_async(target, lambda client: client.caption(b"jpeg"))
        with CaptionClient(target) as client:
            other = client.caption(b"jpeg")
    assert dataclasses.replace(mine, seconds=0) == dataclasses.replace(other, seconds=0)
    assert 0 < mine.seconds < 5


def test_awaitable_twin_has_the_same_errors(tmp_path):
    with serving(length_of) as target:
        for source, message in (
            (b"", "empty"),
            (tmp_path / "none", "can't be read"),
            (b"bad", "not an image"),
        ):
            with pytest.raises(BadImage, match=message):
                run_async(target, lambda client, source=source: client.caption(source))
    with pytest.raises(ServerUnavailable, match="start one with"):
        run_async(f"localhost:{free_port()}", lambda client: client.status(), retries=0)


def test_awaitable_twin_retries_and_keeps_the_order():
    answer, asked = failing(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", times=2)
    with serving(answer) as target:
        assert run_async(target, lambda client: client.caption(b"x")).text == "at last"
    assert len(asked) == 3

    async def many(client):
        sources = (b"bad" if number == 3 else b"a" * number for number in range(1, 12))
        return [outcome async for outcome in client.caption_many(sources, concurrency=4)]

    with serving(length_of) as target:
        outcomes = run_async(target, many)
    texts = [outcome.caption.text if outcome.caption else None for outcome in outcomes]
    assert texts == [None if number == 3 else str(number) for number in range(1, 12)]


LIGHT = """
import sys, time
started = time.process_time()
from serving.client import CaptionClient
with CaptionClient(sys.argv[1]) as client:
    assert client.caption(b"four").text == "4"
seconds = time.process_time() - started
assert not {"tensorflow", "keras", "streamlit"} & set(sys.modules), "a heavy package came along"
# Not getrusage: its peak counts what the parent held when it forked.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(seconds, int(peak.split()[1]) / 1024)
"""


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(),
    reason="memory is read from /proc, which this system lacks",
)
def test_import_and_one_call_are_light():
    with serving(length_of) as target:
        runs = []
        for _ in range(3):  # the best of three
            done = subprocess.run(
                [sys.executable, "-c", LIGHT, target],
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
                cwd=ROOT,
            )
            runs.append([float(word) for word in done.stdout.split()])
    assert min(seconds for seconds, _ in runs) <= 0.5
    assert min(megabytes for _, megabytes in runs) <= 80


def test_words_of_several_tokens():
    hypothesis = Hypothesis(
        "the dog's ball isn't here",
        -1.0,
        tuple(range(4, 12)),
        (-0.5,) * 8,
        tuple((float(i),) for i in range(8)),
    )
    # the | dog 's | ball | is n't | here | the end
    assert hypothesis.words == (
        ("the", -0.5),
        ("dog's", -1.0),
        ("ball", -0.5),
        ("isn't", -1.0),
        ("here", -0.5),
    )
    assert [weights for _, weights in hypothesis.attended] == [
        (0.0,),
        (1.0,),
        (3.0,),
        (4.0,),
        (6.0,),
    ]
