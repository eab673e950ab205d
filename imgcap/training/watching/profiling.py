"""TensorFlow's profiler around some steps of a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

FOLDER = "profile"


class StepProfiler:
    """Profiles the steps from the first to the last of a span, both included; use as a context
    manager.
    """

    def __init__(self, folder: Path, span: tuple[int, int] | None) -> None:
        """Waits for the first step.

        Args:
            folder: where the profile goes, for TensorBoard's profile page.
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
