"""TensorFlow's profiler around some steps of a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

FOLDER = "profile"


class StepProfiler:
    """Context manager that profiles the steps of a span, its first and its last included."""

    def __init__(self, folder: Path, span: tuple[int, int] | None) -> None:
        """Keeps the span; profiling starts with its first step.

        Args:
            folder: for the profile, which TensorBoard's profile page shows.
            span: numbers of the first and the last step; None profiles nothing.
        """
        self._folder, self._span = folder, span
        self._running = False

    def __enter__(self) -> "StepProfiler":
        return self

    def __exit__(self, *exception: object) -> None:
        # A run that ends within the span keeps what was seen so far.
        self._stop()

    @contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Marks one step in the profile.

        Args:
            number: of the step, from 1.
        """
        if not self._span or not self._span[0] <= number <= self._span[1]:
            yield
            return
        if not self._running:
            tf.profiler.experimental.start(str(self._folder))
            self._running = True
        with tf.profiler.experimental.Trace("train", step_num=number, _r=1):
            yield
        if number == self._span[1]:
            self._stop()

    def _stop(self) -> None:
        if self._running:
            tf.profiler.experimental.stop()
            self._running = False
            print(f"profile: {self._folder}")
