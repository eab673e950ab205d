"""The embedded server under too much load: nothing lost, nothing leaked, the rest refused."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving.cli.load import Load, measure
from serving.client import AsyncCaptionClient
from tests.support.paths import ROOT
from tests.support.toy_model import write_toy_model

SECONDS = float(os.environ.get("IMGCAP_SOAK_SECONDS", "4"))
"""Length of the soak; ten minutes show what a few seconds can't."""

BATCHING = (
    "max_batch_size { value: 16 } batch_timeout_micros { value: 1000 } num_batch_threads { value: "
    "2 } max_enqueued_batches { value: 8 } allowed_batch_sizes: [1, 2, 4, 8, 16]"
)


@pytest.fixture(scope="module")
def toys(tmp_path_factory) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("toys")
    return {version: write_toy_model(folder / str(version), f"v{version}") for version in (1, 2, 3)}


@contextmanager
def process(base_path: Path, *flags: str) -> Iterator[tuple[str, int]]:
    """imgcap-serve in a process of its own: its address and its number."""
    script = "import sys; from serving.cli.serve import main; sys.exit(main())"
    arguments = [f"--model_base_path={base_path}", "--port=0", "--embedded", *flags]
    server = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield re.search(r"localhost:\d+", server.stdout.readline())[0], server.pid
        server.terminate()
        assert server.wait(20) == 0
    finally:
        server.kill()
        server.stdout.close()


def megabytes(number: int) -> float:
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{number}/status").read_text())[1]) / 1024


def publish(model: Path, base_path: Path, version: int) -> None:
    shutil.copytree(model, base_path / f".{version}")
    (base_path / f".{version}").rename(base_path / str(version))


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(),
    reason="memory is read from /proc, which this system lacks",
)
def test_full_load_with_swaps_and_garbage_loses_nothing(tmp_path, toys):
    (tmp_path / "batching.config").write_text(BATCHING)
    base_path = tmp_path / "imgcap"
    base_path.mkdir()
    publish(toys[1], base_path, 1)
    # One in a hundred is garbage.
    images = [b"bad" if number == 50 else b"x" * (number + 1) for number in range(100)]
    versions = set()

    async def soak(target: str, number: int) -> tuple:
        async with AsyncCaptionClient(target, timeout=20) as client:

            async def ask(image: bytes):
                caption = await client.caption(image)
                assert caption.text == f"v{caption.version} image of {len(image)} bytes"
                versions.add(caption.version)
                return caption

            async def swap() -> None:
                for version in (2, 3):
                    await asyncio.sleep(SECONDS / 3)
                    await asyncio.to_thread(publish, toys[version], base_path, version)
                while versions != {1, 2, 3}:
                    await asyncio.sleep(0.05)

            await measure(ask, images, Load(1, concurrency=32))
            before = megabytes(number)
            swapping = asyncio.create_task(asyncio.wait_for(swap(), SECONDS + 60))
            parts = [await measure(ask, images, Load(SECONDS, concurrency=32))]
            while not swapping.done():  # a busy machine needs longer to load a version
                parts.append(await measure(ask, images, Load(1, concurrency=32)))
            await swapping
            return parts, megabytes(number) - before

    flags = ["--enable_batching", f"--batching_parameters_file={tmp_path / 'batching.config'}"]
    with process(base_path, *flags) as (target, number):
        parts, growth = asyncio.run(soak(target, number))
    assert not any(found.errors for found in parts) and versions == {1, 2, 3}
    bad_images = sum(found.bad_images for found in parts)
    total = bad_images + sum(len(found.latencies) for found in parts)
    assert bad_images == pytest.approx(total / 100, abs=40) and bad_images > 0
    assert growth < 60, f"{growth:.0f} MB more after {total} requests and two swaps"


def test_overload_is_refused_and_what_is_accepted_is_answered(toys):
    """With four times its load it goes on at its own speed, and waits are as long as its queue."""

    async def overload(target: str) -> tuple:
        async with AsyncCaptionClient(target, signature="slow", timeout=20, retries=0) as client:
            await client.caption(b"warm")
            full = await measure(client.caption, [b"x"], Load(2, concurrency=2))
            return full, await measure(client.caption, [b"x"], Load(2, rate=4 * full.rate))

    with process(toys[1].parent, "--grpc_max_threads=4") as (target, _):
        full, over = asyncio.run(overload(target))
    assert set(over.errors) == {"Overloaded"}
    assert over.rate >= 0.5 * full.rate  # more than 0.9 on a machine that does nothing else
    assert over.percentile(99) <= 5 * full.percentile(99)
