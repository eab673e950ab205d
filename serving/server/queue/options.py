"""How requests are merged into batches; checked once, where the server starts."""

import os
from dataclasses import dataclass

from imgcap.errors import ConfigError


@dataclass(frozen=True)
class BatchingOptions:
    """The fields of TensorFlow Serving's BatchingParameters, with its defaults
    (shared_batch_scheduler.h).

    Attributes:
        max_batch_size: rows of a batch at most; a request with more is refused.
        timeout_seconds: how long the oldest request waits for company.
        max_enqueued_batches: batches that may wait for a thread, for each signature; more are
            refused.
        num_threads: batches that run at a time.
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
        """The number of rows that run where so many came."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)
