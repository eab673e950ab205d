"""The settings of the queue: how many requests are inside, and how they are merged into batches."""

import os
from dataclasses import dataclass

from imgcap.errors import ConfigError

DEFAULT_MAX_THREADS = 64
"""Requests inside at a time; with the real server's default, 4 for each CPU, few clients suffice
for refusals.
"""

DEFAULT_MAX_BYTES = 256 * 2**20
"""Size of all requests inside at a time: room for 64 photographs of 4 MB."""


@dataclass(frozen=True)
class BatchingOptions:
    """TensorFlow Serving's BatchingParameters, with the defaults of shared_batch_scheduler.h.

    They are checked once, when they are made.

    Attributes:
        max_batch_size: rows of a batch at most; a request with more is refused.
        timeout_seconds: how long the oldest request waits for others.
        max_enqueued_batches: number of batches that may wait for a thread, for each signature; more
            are refused.
        num_threads: number of batches that run at a time.
        allowed_batch_sizes: sizes that a batch is padded to, increasing, the last one
            `max_batch_size`; empty for any size.
    """

    max_batch_size: int = 1000
    timeout_seconds: float = 0.0
    max_enqueued_batches: int = 10
    num_threads: int = os.cpu_count() or 1
    allowed_batch_sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("max_batch_size", "max_enqueued_batches", "num_threads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} {getattr(self, name)} is below the least value, 1")
        if self.timeout_seconds < 0:
            raise ConfigError(
                f"batch_timeout_micros {round(1e6 * self.timeout_seconds)} is below 0"
            )
        sizes = self.allowed_batch_sizes
        if list(sizes) != sorted(set(sizes)) or min(sizes, default=1) < 1:
            raise ConfigError(f"allowed_batch_sizes {list(sizes)} do not increase")
        if sizes and sizes[-1] != self.max_batch_size:
            raise ConfigError(
                f"the last of allowed_batch_sizes, {sizes[-1]}, is not max_batch_size, "
                f"{self.max_batch_size}"
            )

    def padded(self, rows: int) -> int:
        """The number of rows that a batch of so many is padded to."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)
