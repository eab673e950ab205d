"""24 captions a second for an hour: memory and latency must stay where they are.

    python -m tests.campaign soak [--size=SECONDS]

The environment variables of `tests.campaign.server.world` choose another model and the real server.
"""

import asyncio
import statistics
import tempfile
from pathlib import Path

from imgcap.host.progress import Progress
from serving.cli.load import Load, Measurement, measure
from serving.client import AsyncCaptionClient
from tests.campaign.figures import Row
from tests.campaign.server.world import find_model, server_kind
from tests.support.servers import ServerProcess, server_process

SIZE = 3600
"""Seconds of the long form."""

RATE = 24.0
"""Captions a second."""

PARTS = 60
"""Into as many parts the time is cut: minutes of an hour."""

SETTLED = 5
"""The part from which on nothing may grow."""

MEMORY_GROWTH = 0.03
LATENCY_FACTOR = 1.5
"""How much the median of the last parts may be above that of the first after `SETTLED`: other
work of the machine shows in it, a leak would go on and on."""


def run(size: int, seed: int, parts: int = PARTS) -> list[Row]:
    """Asks for captions at an even rate.

    Args:
        size: seconds.
        seed: of no use here.
        parts: into which the time is cut; at least 10.

    Returns:
        Rows of the requests, the memory and the latency.
    """
    with tempfile.TemporaryDirectory(prefix="imgcap-soak-") as folder:
        base_path, photo = find_model(Path(folder))
        with server_process(server_kind(), model_base_path=str(base_path)) as server:
            measured, megabytes = asyncio.run(_soak(server, photo, size / parts, parts))
    settled = SETTLED * parts // PARTS + 1
    edge = max(1, (parts - settled) // 5)
    medians = [statistics.median(part.latencies) for part in measured[settled:]]
    first, last = (statistics.mean(part) for part in (medians[:edge], medians[-edge:]))
    # Freed memory is returned every few seconds, so that the least of a few parts is what it holds.
    base, end = (min(part) for part in (megabytes[settled:][:edge], megabytes[-edge:]))
    answered = sum(len(part.latencies) for part in measured)
    lost = sum(sum(part.errors.values()) for part in measured)
    return [
        Row("requests", answered + lost, answered),
        Row(
            "memory",
            1,
            int(0 < end <= (1 + MEMORY_GROWTH) * base),
            f"{base:.0f} MB, at the end {end:.0f} MB ({100 * (end / base - 1):+.1f} %, "
            f"≤ {100 * MEMORY_GROWTH:.0f} %)",
        ),
        Row(
            "latency",
            1,
            int(last <= LATENCY_FACTOR * first),
            f"median {1e3 * first:.1f} ms, at the end {1e3 * last:.1f} ms ({last / first:.2f} ×, "
            f"≤ {LATENCY_FACTOR} ×)",
        ),
    ]


async def _soak(
    server: ServerProcess, photo: bytes, seconds: float, parts: int
) -> tuple[list[Measurement], list[float]]:
    """Measures part by part, and the memory at the end of each."""
    measured, megabytes = [], []
    async with AsyncCaptionClient(server.target, timeout=30) as client:
        await client.caption(photo)
        with Progress("soak", parts, "parts") as progress:
            for _ in range(parts):
                measured.append(await measure(client.caption, [photo], Load(seconds, rate=RATE)))
                megabytes.append(server.megabytes())
                progress.advance()
    return measured, megabytes
