"""A load generator for model servers: callers that wait for answers, or arrivals that do not."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

from imgcap.errors import ServingError
from serving.client.answers import Caption
from serving.client.errors import BadImage

Ask = Callable[[bytes], Awaitable[Caption]]
"""Sends an encoded image and awaits its caption."""


@dataclass(frozen=True)
class Load:
    """The requests that a server is offered, in a closed or an open loop.

    In a closed loop, callers ask again as soon as they are answered. In an open loop, requests come
    at random moments, whether or not earlier ones are answered.

    Attributes:
        seconds: how long requests are sent.
        concurrency: number of callers; 0 for an open loop.
        rate: requests a second; 0 for a closed loop.
    """

    seconds: float
    concurrency: int = 0
    rate: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.concurrency} callers"
            if self.concurrency
            else f"{self.rate:g} requests/s offered"
        )


@dataclass
class Measurement:
    """The answers of a server to a load.

    Attributes:
        load: the requests that were offered.
        seconds: time from the first request to the last answer.
        latencies: seconds of each answered request; in an open loop from the moment it was due, so
            that a request which the machine could not even send in time counts with all of its
            waiting.
        bad_images: number of requests that were answered with "this is no image", as garbage should
            be.
        errors: number of requests that failed otherwise, by kind of error.
    """

    load: Load
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    bad_images: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Captions a second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def percentile(self, percent: float) -> float:
        """Latency in milliseconds that so many percent of the answers stay below, else NaN."""
        return (
            1e3 * float(np.percentile(self.latencies, percent)) if self.latencies else float("nan")
        )

    def to_object(self) -> dict[str, Any]:
        """One object of the JSON output, with latencies in milliseconds."""
        shown = {
            f"p{percent}_ms": round(self.percentile(percent), 2) if self.latencies else None
            for percent in (50, 90, 99)
        }
        return {
            "loop": "closed" if self.load.concurrency else "open",
            "concurrency": self.load.concurrency,
            "offered_per_second": self.load.rate,
            "seconds": round(self.seconds, 3),
            "captions": len(self.latencies),
            "captions_per_second": round(self.rate, 2),
            **shown,
            "bad_images": self.bad_images,
            "errors": dict(self.errors),
        }


async def measure(ask: Ask, images: Sequence[bytes], load: Load, seed: int = 0) -> Measurement:
    """Offers a load to a server and measures its answers.

    Args:
        ask: a client's `caption`.
        images: encoded files, sent in turn.
        load: the requests to send.
        seed: seed of the moments at which requests of an open loop are due.
    """
    measurement = Measurement(load)
    started = perf_counter()
    if load.concurrency:
        await _closed_loop(ask, images, measurement, started)
    else:
        await _open_loop(ask, images, measurement, started, random.Random(seed))
    measurement.seconds = perf_counter() - started
    return measurement


async def _closed_loop(
    ask: Ask, images: Sequence[bytes], measurement: Measurement, started: float
) -> None:
    end = started + measurement.load.seconds

    async def caller(number: int) -> None:
        while (now := perf_counter()) < end:
            await _ask_once(ask, images[number % len(images)], now, measurement)
            number += measurement.load.concurrency

    await asyncio.gather(*(caller(number) for number in range(measurement.load.concurrency)))


async def _open_loop(
    ask: Ask, images: Sequence[bytes], measurement: Measurement, started: float, rng: random.Random
) -> None:
    """Sends at Poisson arrivals, as independent people do."""
    under_way: set[asyncio.Task[None]] = set()
    due, number = started, 0
    while (
        due := due + rng.expovariate(measurement.load.rate)
    ) < started + measurement.load.seconds:
        await asyncio.sleep(max(0.0, due - perf_counter()))
        task = asyncio.create_task(_ask_once(ask, images[number % len(images)], due, measurement))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        number += 1
    await asyncio.gather(*under_way)


async def _ask_once(ask: Ask, image: bytes, due: float, measurement: Measurement) -> None:
    try:
        await ask(image)
        measurement.latencies.append(perf_counter() - due)
    except BadImage:
        measurement.bad_images += 1
    except ServingError as error:
        measurement.errors[type(error).__name__] += 1
