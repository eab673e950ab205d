"""Times the embedded server: what it adds to one call, what many callers get, and what is left when
far too much is asked.
"""

import asyncio
import contextlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from imgcap import signature
from imgcap.errors import ServingError
from serving.cli.benchmark import BenchmarkConfig, make_images
from serving.cli.load import Load, Measurement, measure
from serving.cli.serve import ServeConfig, with_threads
from serving.client.awaitable import AsyncCaptionClient
from serving.client.blocking import CaptionClient
from serving.server.models.base_path import require_versions
from tests.bench.config import BenchConfig, ServingBenchConfig
from tests.bench.table import Row
from tests.bench.timing import Subject, clocked, take_turns, timing_process
from tests.support.paths import ROOT

BATCHING = ROOT / "serving" / "deployment" / "batching.config"
CALLS_A_TURN = 5
CALLERS = 32
# Seconds. A full server answers after the wait of its queue, 64 requests of a tenth of a second.
PATIENCE = 60.0
OVERLOAD = 4
SERVED, ALONE = "served", "alone"


def measure_serving(bench: BenchConfig, serving: ServingBenchConfig) -> list[Row]:
    """Starts servers and loads them.

    Args:
        bench: how many turns the server and the model alone have.
        serving: the model, and how long.

    Returns:
        The rows of the table.

    Raises:
        ServingError: nothing to serve, or a server that does not start.
    """
    version = newest_version(Path(serving.model_base_path))
    base_path, images = version.parent, make_images(BenchmarkConfig(), ())
    _say("one caller, with a server and without")
    with _server(base_path) as target:
        rows = [_latency_row(version, target, images[0], bench.repetitions)]
    with _server(
        base_path, "--enable_batching", f"--batching_parameters_file={BATCHING}"
    ) as target:
        _say("many callers")
        one, many = asyncio.run(_measure_callers(target, images, serving.seconds))
        rows.append(callers_row(one, many))
        _say("too many callers")
        over = asyncio.run(
            _measure_overload(target, images, OVERLOAD * many.rate, 3 * serving.seconds)
        )
    return [*rows, *overload_rows(many, over)]


def newest_version(model_base_path: Path) -> Path:
    """The folder of the version that is measured.

    Args:
        model_base_path: what `imgcap-export` wrote.

    Returns:
        An absolute path.

    Raises:
        ServingError: no such folder, or no version in it.
    """
    base_path = model_base_path.absolute()
    return base_path / str(max(require_versions(base_path)))


def _say(what: str) -> None:
    print(f"serving: {what}", flush=True)


@contextlib.contextmanager
def _server(base_path: Path, *flags: str) -> Iterator[str]:
    """Runs `imgcap-serve` in a process of its own; yields its address."""
    script = "import sys; from serving.cli.serve import main; sys.exit(main())"
    arguments = [f"--model_base_path={base_path}", "--port=0", "--embedded", *flags]
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    ) as server:
        assert server.stdout
        found = re.search(r"localhost:\d+", server.stdout.readline())
        if not found:
            raise ServingError(
                f"imgcap-serve {' '.join(arguments)} did not start: run it by hand to see why"
            )
        try:
            yield found[0]
        finally:
            server.terminate()


def _latency_row(version: Path, target: str, image: bytes, repetitions: int) -> Row:
    """One caller's wait for the server against the same call of the SavedModel in its own
    process.
    """
    threads = with_threads(
        ServeConfig(model_base_path=str(version.parent))
    ).tensorflow_intra_op_parallelism
    with contextlib.ExitStack() as stack:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "image.jpg"
        path.write_bytes(image)
        alone = Subject(str(version), signature.DECODE, image_file=str(path))
        timer = stack.enter_context(timing_process([alone], intra_op=threads))
        client = stack.enter_context(CaptionClient(target, timeout=PATIENCE, retries=0))
        calls = clocked(lambda: client.caption(image), CALLS_A_TURN + 1)
        turns = {
            # The first call of a turn finds the caches full of the other process.
            SERVED: lambda: calls()[1:],
            ALONE: lambda: timer(alone, 1, CALLS_A_TURN),
        }
        medians = take_turns(turns, repetitions)
    one, other = medians[SERVED], medians[ALONE]
    note = f"{1000 * one:.1f} against {1000 * other:.1f} ms, embedded server, no batching"
    return Row("gRPC over loopback ÷ SavedModel in process, batch 1", one / other, "≤ 1.10", note)


async def _measure_callers(
    target: str, images: list[bytes], seconds: float
) -> tuple[Measurement, Measurement]:
    async with AsyncCaptionClient(target, timeout=PATIENCE, retries=0) as client:
        await measure(client.caption, images, Load(seconds / 4, concurrency=CALLERS))
        one = await measure(client.caption, images, Load(seconds, concurrency=1))
        return one, await measure(client.caption, images, Load(seconds, concurrency=CALLERS))


async def _measure_overload(
    target: str, images: list[bytes], rate: float, seconds: float
) -> Measurement:
    async with AsyncCaptionClient(target, timeout=PATIENCE, retries=0) as client:
        return await measure(client.caption, images, Load(seconds, rate=rate))


def callers_row(one: Measurement, many: Measurement) -> Row:
    """How many times as many captions a second many callers get together as one caller.

    Args:
        one: measured with one caller.
        many: measured with many callers.
    """
    note = f"{many.rate:.1f} against {one.rate:.1f} captions/s, batching.config"
    return Row(
        f"{CALLERS} callers against one, captions a second", many.rate / one.rate, "≥ 1.8", note
    )


def overload_rows(capacity: Measurement, over: Measurement) -> list[Row]:
    """How much of the capacity is left under too much load, and how long accepted requests wait.

    Args:
        capacity: of callers that wait for their answers.
        over: of an open loop that offers more.
    """
    refused = ", ".join(f"{count} {name}" for name, count in over.errors.items()) or "none"
    note = (
        f"{over.rate:.1f} of {capacity.rate:.1f} captions/s in {over.seconds:.0f} s; refused: "
        f"{refused}"
    )
    longest, usual = over.percentile(99), capacity.percentile(99)
    waits = f"{longest:.0f} against {usual:.0f} ms with {CALLERS} callers"
    return [
        Row(
            f"{OVERLOAD} × capacity offered: answered ÷ capacity",
            over.rate / capacity.rate,
            "≥ 0.80",
            note,
        ),
        # The queue holds twice as many as there were callers, and no more.
        Row(f"{OVERLOAD} × capacity offered: p99 ÷ p99 at capacity", longest / usual, "≤ 4", waits),
    ]
