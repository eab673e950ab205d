"""imgcap-benchmark: how fast a server answers, and how it behaves under too much load."""

import asyncio
import io
import json
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from imgcap.cli import command
from imgcap.config import Section, setting
from imgcap.errors import ConfigError, ServingError
from serving.cli.connection import ConnectionConfig, client_arguments
from serving.cli.latency_plot import refuse_without_matplotlib, write_latency_plot
from serving.cli.load import Load, Measurement, measure
from serving.client import AsyncCaptionClient, BadImage
from serving.client.connection import encode
from serving.client.images import find_images

PHOTO_SIZE = (500, 375)
"""Width and height of drawn pictures in pixels, if none are given; Flickr8k's are as large."""

_BAD = b"bad "  # how requests begin that are no image


@dataclass(frozen=True)
class BenchmarkConfig(Section):
    """Which load to offer, and where to write the measurements."""

    concurrency: str = setting(
        "1,2,4,8,16,32",
        "Numbers of callers, one measurement each: a caller sends its next request when its last "
        "one is answered (closed loop).",
    )
    rate: str = setting(
        "",
        "Requests a second, one measurement each, such as 5,10,20: they come at this rate, whether "
        "earlier ones are answered or not (open loop).",
    )
    seconds: float = setting(10.0, "Length of a measurement.", minimum=0.1)
    warmup_seconds: float = setting(
        2.0, "Seconds of requests before the first measurement, which do not count.", minimum=0.0
    )
    images: int = setting(32, "Pictures to draw and send if no IMAGE is given.", minimum=1)
    garbage_fraction: float = setting(
        0.0,
        "Share of requests that hold no image; they should not slow the others.",
        minimum=0.0,
        maximum=1.0,
    )
    retries: int = setting(
        0, "Times a refused request is repeated; 0 measures the server alone.", minimum=0, maximum=4
    )
    json_output: str = setting("", "File for all numbers, as one JSON object.", path=True)
    plot: str = setting(
        "", "File for a picture of latency against load, such as latency.png.", path=True
    )
    seed: int = setting(0, "Seed of the pictures and of the arrivals.")


def main(argv: Sequence[str] | None = None) -> int:
    """The console command; see `imgcap-benchmark --help`."""
    return command.main(COMMAND, argv)


def benchmark(
    connection: ConnectionConfig, config: BenchmarkConfig, arguments: Sequence[str]
) -> int:
    """Measures one load after the other and prints a line for each.

    Args:
        connection: which model to ask.
        config: which load to offer.
        arguments: image files, folders and globs to send; drawn pictures by default.

    Returns:
        0; a server that refuses under load is a result, no failure.

    Raises:
        ConfigError: a text that is no list of numbers, or a file that can't be written.
        ServingError: the server is away, or does not answer before any load.
    """
    loads = make_loads(config)
    for path in filter(None, (config.json_output, config.plot)):
        if not os.access(Path(path).parent, os.W_OK):
            raise ConfigError(
                f"{path} can't be written: its folder is missing or not writable for this account"
            )
        if Path(path).is_dir():
            raise ConfigError(f"{path} can't be written: it is a folder, give the name of a file")
    if config.plot:
        refuse_without_matplotlib(config.plot)
    images = make_images(config, arguments)
    print(_HEADER, flush=True)
    measurements = asyncio.run(_measure_all(connection, config, images, loads))
    if config.json_output:
        objects = [measurement.to_object() for measurement in measurements]
        text = json.dumps({"server": connection.server, "measurements": objects}, indent=2)
        Path(config.json_output).write_text(text + "\n", encoding="utf-8")
    if config.plot:
        write_latency_plot(config.plot, measurements)
    return 0


def make_loads(config: BenchmarkConfig) -> list[Load]:
    """Makes the loads that the flags name, closed loops first.

    Raises:
        ConfigError: no load at all, or something that is not a positive number.
    """
    callers, rates = (
        _numbers("concurrency", config.concurrency, int),
        _numbers("rate", config.rate, float),
    )
    loads = [Load(config.seconds, concurrency=int(number)) for number in callers]
    loads += [Load(config.seconds, rate=rate) for rate in rates]
    if not loads:
        raise ConfigError("--concurrency and --rate are both empty: give one of them")
    return loads


def make_images(config: BenchmarkConfig, arguments: Sequence[str]) -> list[bytes]:
    """Makes the files to send, garbage mixed in.

    Args:
        config: how many pictures to draw, and the share of garbage.
        arguments: image files, folders and globs; pictures are drawn if there are none.

    Raises:
        ConfigError: a file that can't be read.
    """
    rng = random.Random(config.seed)
    try:
        images = [encode(path) for path in find_images(arguments)]
    except BadImage as error:
        raise ConfigError(f"{', '.join(arguments)}: {error}") from None
    if arguments and not images:
        raise ConfigError(f"no image in {', '.join(arguments)}: name files, folders or globs")
    images = images or [_draw_photo(rng) for _ in range(config.images)]
    if config.garbage_fraction:
        # The cycle is long enough to hold the share exactly; only the order is random.
        cycle = (images * (1000 // len(images) + 1))[:1000]
        for place in rng.sample(range(1000), round(1000 * config.garbage_fraction)):
            cycle[place] = _BAD + rng.randbytes(500)
        images = cycle
    return images


async def _measure_all(
    connection: ConnectionConfig,
    config: BenchmarkConfig,
    images: Sequence[bytes],
    loads: Sequence[Load],
) -> list[Measurement]:
    measurements = []
    async with AsyncCaptionClient(**client_arguments(connection), retries=config.retries) as client:
        first = next(image for image in images if not image.startswith(_BAD))
        await client.caption(first)  # what fails without load is an error, not a result
        await measure(client.caption, images, Load(config.warmup_seconds, concurrency=2))
        for load in loads:
            measurements.append(await measure(client.caption, images, load, config.seed))
            print(_line(measurements[-1]), flush=True)
    if not any(measurement.latencies for measurement in measurements):
        raise ServingError(
            f"{connection.server} answered none of the requests: see the errors above"
        )
    return measurements


def _line(measurement: Measurement) -> str:
    errors = ", ".join(f"{count} {name}" for name, count in measurement.errors.items()) or "0"
    percentiles = "".join(f"{measurement.percentile(percent):10.1f}" for percent in (50, 90, 99))
    load, bad = f"{measurement.load!s:>26}", f"{measurement.bad_images:8d}"
    return f"{load}{measurement.rate:12.1f}{percentiles}{bad}  {errors}"


_HEADER = (
    f"{'load':>26}{'captions/s':>12}{'p50 ms':>10}{'p90 ms':>10}{'p99 ms':>10}{'bad':>8}  errors"
)


def _numbers(flag: str, text: str, kind: type[int] | type[float]) -> list[float]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    try:
        numbers = [kind(word) for word in words]
        if min(numbers, default=1) > 0:
            return numbers
    except ValueError:
        pass
    raise ConfigError(f"--{flag}={text} is no list of numbers above 0, such as 1,2,4")


def _draw_photo(rng: random.Random) -> bytes:
    """Draws a JPEG as large as a photograph, in pixels and bytes: smooth areas with noise."""
    noise = np.random.default_rng(rng.randrange(2**32))
    small = Image.fromarray(noise.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    pixels = np.asarray(small.resize(PHOTO_SIZE, Image.Resampling.BICUBIC), dtype=np.int16)
    pixels = np.clip(pixels + noise.normal(0, 9, pixels.shape), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


COMMAND = command.Command(
    name="imgcap-benchmark",
    summary="Measures a running server: captions a second and latency under rising load, errors by "
    "kind, as a table, JSON and a picture.",
    sections=(ConnectionConfig, BenchmarkConfig),
    run=benchmark,
    positional="[IMAGE...]",
)
