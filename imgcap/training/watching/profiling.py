"""TensorFlow's profiler around some steps of a run."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import tensorflow as tf

from imgcap.files.literal import literal_folder

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
        self._running: ExitStack | None = None

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
            self._running = self._start()
        with tf.profiler.experimental.Trace("train", step_num=number, _r=1):
            yield
        if number == self._span[1]:
            self._stop()

    def _start(self) -> ExitStack:
        """Starts profiling; closing what it returns stops it."""
        running = ExitStack()
        self._folder.mkdir(parents=True, exist_ok=True)
        folder = running.enter_context(literal_folder(self._folder))
        tf.profiler.experimental.start(str(folder))
        running.callback(tf.profiler.experimental.stop)
        return running

    def _stop(self) -> None:
        if self._running:
            self._running.close()
            self._running = None
            print(f"profile: {self._folder}")
