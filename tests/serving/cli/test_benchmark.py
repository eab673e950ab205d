"""The benchmark on servers whose speed and failures are known beforehand."""

import asyncio
import contextlib
import json
import math

import grpc
import pytest
from PIL import Image

from imgcap.errors import ConfigError
from serving.cli import benchmark
from serving.cli.benchmark import BenchmarkConfig, make_images, make_loads
from serving.cli.load import Load, Measurement, measure
from serving.client import BadImage, Caption, Overloaded
from tests.support.fake_server import failing, length_of, serving
from tests.support.servers import free_port
from tests.support.waiting import VirtualTimeLoop


@pytest.fixture
def run(monkeypatch):
    """Measures in virtual time: what is seen depends on the pauses alone, not on the machine."""

    def run_virtually(ask, load: Load, images=(b"x",)) -> Measurement:
        loop = VirtualTimeLoop()
        monkeypatch.setattr("serving.cli.load.perf_counter", loop.time)
        with contextlib.closing(loop):
            return loop.run_until_complete(measure(ask, images, load))

    return run_virtually


def test_closed_loop_keeps_so_many_under_way(run):
    here = peak = 0
    sent = []

    async def ask(image: bytes) -> Caption:
        nonlocal here, peak
        sent.append(image)
        here += 1
        peak = max(peak, here)
        await asyncio.sleep(0.02)
        here -= 1
        return Caption("x", -1.0)

    found = run(ask, Load(0.5, concurrency=4), (b"1", b"2"))
    assert peak == 4 and set(sent) == {b"1", b"2"}
    assert (found.percentile(50), found.percentile(99)) == (pytest.approx(20), pytest.approx(20))
    assert found.rate == pytest.approx(len(sent) / found.seconds)
    assert found.rate == pytest.approx(200)


def test_open_loop_does_not_wait_for_answers(run):
    async def slow(image: bytes) -> Caption:
        await asyncio.sleep(0.3)
        return Caption("x", -1.0)

    found = run(slow, Load(0.5, rate=200))
    assert 60 <= len(found.latencies) <= 140  # 100 are due; Poisson
    assert found.percentile(50) == pytest.approx(300)


def test_open_loop_counts_from_the_moment_a_request_was_due(run):
    lock = None

    async def one_at_a_time(image: bytes) -> Caption:
        nonlocal lock
        lock = lock or asyncio.Lock()
        async with lock:
            await asyncio.sleep(0.02)
        return Caption("x", -1.0)

    found = run(one_at_a_time, Load(0.4, rate=100))  # twice what it can do: the queue grows
    assert found.latencies[-1] > 5 * found.latencies[0] and found.rate < 55


def test_failures_are_counted_by_kind(run):
    async def ask(image: bytes) -> Caption:
        await asyncio.sleep(0.001)
        if image == b"bad":
            raise BadImage("no image")
        if image == b"busy":
            raise Overloaded("later")
        return Caption("x", -1.0)

    found = run(ask, Load(0.1, concurrency=1), (b"good", b"bad", b"busy"))
    counts = (len(found.latencies), found.bad_images, found.errors["Overloaded"])
    assert max(counts) - min(counts) <= 1 and min(counts) >= 5
    entry = found.to_object()
    assert entry["errors"] == {"Overloaded": counts[2]} and entry["bad_images"] == counts[1]
    assert json.loads(json.dumps(entry))["loop"] == "closed"


def test_nothing_answered_has_no_percentile():
    empty = Measurement(Load(1, concurrency=1))
    assert (
        math.isnan(empty.percentile(50)) and empty.rate == 0 and empty.to_object()["p50_ms"] is None
    )


def test_loads_of_the_flags():
    loads = make_loads(BenchmarkConfig(concurrency="1, 8", rate="2.5", seconds=3))
    assert loads == [Load(3, concurrency=1), Load(3, concurrency=8), Load(3, rate=2.5)]
    for flags in (
        {"concurrency": "1,x"},
        {"concurrency": "0"},
        {"rate": "-1"},
        {"concurrency": ""},
    ):
        with pytest.raises(ConfigError):
            make_loads(BenchmarkConfig(**flags))


def test_pictures_are_photographs_and_garbage_has_its_share(tmp_path):
    images = make_images(BenchmarkConfig(images=3, garbage_fraction=0.01), [])
    assert len(images) == 1000 and sum(image.startswith(b"bad ") for image in images) == 10
    assert images == make_images(BenchmarkConfig(images=3, garbage_fraction=0.01), [])
    (tmp_path / "a.jpg").write_bytes(images[0])
    assert make_images(BenchmarkConfig(), [str(tmp_path)]) == [images[0]]
    with Image.open(tmp_path / "a.jpg") as photo:
        assert photo.size == (500, 375) and 20_000 < len(images[0]) < 200_000
    with pytest.raises(ConfigError, match="can't be read"):
        make_images(BenchmarkConfig(), [str(tmp_path / "b.jpg")])


def test_command_writes_numbers_and_a_picture(tmp_path, capsys):
    with serving(length_of) as target:
        status = benchmark.main(
            [
                "imgcap-benchmark",
                f"--server={target}",
                "--concurrency=1,4",
                "--rate=50",
                "--seconds=0.3",
                "--warmup_seconds=0.1",
                "--garbage_fraction=0.1",
                f"--json_output={tmp_path}/a.json",
                f"--plot={tmp_path}/a.png",
                "--images=2",
            ]
        )
    lines = capsys.readouterr().out.splitlines()
    assert status == 0 and len(lines) == 4 and "50 requests/s offered" in lines[3]
    one, four, offered = json.loads((tmp_path / "a.json").read_text())["measurements"]
    assert (one["concurrency"], four["concurrency"], offered["offered_per_second"]) == (1, 4, 50)
    assert one["captions"] > 10 and one["bad_images"] > 0 and not one["errors"]
    with Image.open(tmp_path / "a.png") as chart:
        assert chart.size == (900, 520)


def test_server_that_only_refuses(capsys):
    answer, _ = failing(grpc.StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")
    with serving(answer) as target:
        arguments = [f"--server={target}", "--seconds=0.1", "--concurrency=1", "--images=1"]
        assert benchmark.main(["imgcap-benchmark", *arguments]) == 3
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "flags, status, message",
    [
        (["--concurrency=two"], 2, "--concurrency=two is no list of numbers"),
        (["--plot=/no/such/folder/a.png"], 2, "/no/such/folder/a.png can't be written"),
        (["--json_output=/"], 2, "/ can't be written: it is a folder"),
        (["--concurrency=1"], 3, "no model server answers at"),
    ],
)
def test_wrong_use_is_one_line(capsys, flags, status, message):
    arguments = ["imgcap-benchmark", f"--server=localhost:{free_port()}", "--images=1", *flags]
    assert benchmark.main(arguments) == status
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
