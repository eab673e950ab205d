"""`python -m tests.bench.serving`: what the embedded server adds to an export, and what it does
with many callers and with too many, as ratios measured in one run.
"""

import asyncio
import contextlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imgcap.cli import command
from imgcap.config import Section, setting
from imgcap.errors import ServingError
from serving.cli.benchmark import BenchmarkConfig, make_images
from serving.cli.serve import ServeConfig, with_threads
from serving.client.awaitable import AsyncCaptionClient
from serving.client.blocking import CaptionClient
from serving.client.load import Load, Measurement, measure
from serving.server.models.versions import find_versions
from tests.bench import measurement_table
from tests.bench.measurement_table import Row
from tests.bench.timer import timing_process
from tests.support.paths import ROOT

IN_PROCESS = Path(__file__).with_name("in_process.py")
BATCHING = ROOT / "serving" / "deployment" / "batching.config"
CALLS_A_TURN = 5
CALLERS = 32
# A full server answers with the wait of its queue, 64 requests: seconds, where one request takes a
# tenth.
PATIENCE = 60.0
OVERLOAD = 4


@dataclass(frozen=True)
class MeasurementConfig(Section):
    """What is measured, and how long."""

    model_base_path: str = setting(
        "", "Folder that imgcap-export wrote; its newest version is measured.", required=True
    )
    repetitions: int = setting(
        7,
        f"Turns, of {CALLS_A_TURN} calls each, that the server and the model alone have; the "
        "median counts.",
        minimum=1,
    )
    seconds: float = setting(
        20.0, "Length of each load with many callers; three times that for overload.", minimum=0.5
    )
    output: str = setting(
        "", "JSON file for the rows, beside those of other benchmarks; empty writes none."
    )


def run(config: MeasurementConfig, arguments: list[str]) -> None:
    """Measures, prints and keeps the table."""
    del arguments
    measurement_table.measure_and_keep("serving", config.output, lambda: measure_all(config))


def measure_all(config: MeasurementConfig) -> list[Row]:
    """Starts servers and loads them.

    Args:
        config: the model, and how long.

    Returns:
        The rows of the table.

    Raises:
        ServingError: nothing to serve, or a server that does not start.
    """
    base_path = Path(config.model_base_path).absolute()
    version = base_path / str(max(find_versions(base_path)))
    images = make_images(BenchmarkConfig(), ())
    _say("one caller, with a server and without")
    with _server(base_path) as target:
        rows = [_latency_row(version, target, images[0], config.repetitions)]
    with _server(
        base_path, "--enable_batching", f"--batching_parameters_file={BATCHING}"
    ) as target:
        _say("many callers")
        one, many = asyncio.run(_measure_callers(target, images, config.seconds))
        rows.append(callers_row(one, many))
        _say("too many callers")
        over = asyncio.run(
            _measure_overload(target, images, OVERLOAD * many.rate, 3 * config.seconds)
        )
    return [*rows, *overload_rows(many, over)]


def _say(what: str) -> None:
    print(f"serving: {what}", flush=True)


@contextlib.contextmanager
def _server(base_path: Path, *flags: str) -> Iterator[str]:
    """`imgcap-serve` in a process of its own: its address."""
    script = "import sys; from serving.cli.serve import main; sys.exit(main())"
    arguments = [f"--model_base_path={base_path}", "--port=0", "--embedded", *flags]
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    ) as server:
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
    served, alone = [], []
    with contextlib.ExitStack() as stack:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "image.jpg"
        path.write_bytes(image)
        ask_alone = stack.enter_context(timing_process(IN_PROCESS, version, threads, path))
        client = stack.enter_context(CaptionClient(target, timeout=PATIENCE, retries=0))
        for measured in (False, *[True] * repetitions):
            turns = _time_client(client, image), ask_alone(CALLS_A_TURN + 1)
            for seconds, kept in zip(turns, (served, alone), strict=True):
                # The first call of a turn finds the caches full of the other process.
                kept += seconds[1:] if measured else []
    one, other = statistics.median(served), statistics.median(alone)
    note = f"{1000 * one:.1f} against {1000 * other:.1f} ms, embedded server, no batching"
    return Row("gRPC over loopback ÷ SavedModel in process, batch 1", one / other, "≤ 1.10", note)


def _time_client(client: CaptionClient, image: bytes) -> list[float]:
    seconds = []
    for _ in range(CALLS_A_TURN + 1):
        started = time.perf_counter()
        client.caption(image)
        seconds.append(time.perf_counter() - started)
    return seconds


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
    """What many callers get against one.

    Args:
        one: of one caller.
        many: of many.
    """
    note = f"{many.rate:.1f} against {one.rate:.1f} captions/s, batching.config"
    return Row(
        f"{CALLERS} callers against one, captions a second", many.rate / one.rate, "≥ 1.8", note
    )


def overload_rows(capacity: Measurement, over: Measurement) -> list[Row]:
    """What is left of the capacity under too much load, and how long the accepted wait.

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


COMMAND = command.Command(
    name="python -m tests.bench.serving",
    summary="Times the embedded server: what it adds to one call, what many callers get, and what "
    "is left when far too much is asked. Ratios hold from machine to machine, milliseconds don't.",
    sections=(MeasurementConfig,),
    run=run,
)

if __name__ == "__main__":
    sys.exit(command.main(COMMAND))
