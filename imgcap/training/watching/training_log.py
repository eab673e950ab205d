"""The log of training: a line of numbers every few steps, read from the device as seldom as
possible.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from imgcap.errors import RunError
from imgcap.host.progress import clock
from imgcap.training.step import Totals

Element = TypeVar("Element")


class TrainingLog:
    """Adds up losses on the device and reads them every few steps, since a read waits for it.

    Attributes:
        note: the last line in words, for a progress bar; empty before the first.
    """

    def __init__(
        self,
        write: Callable[..., None],
        every: int,
        workdir: Path,
        *,
        last_step: int,
        captions_per_image: float,
        rewarded: bool = False,
    ) -> None:
        """Starts the clock.

        Args:
            write: takes the values of a line by name.
            every: steps between two lines.
            workdir: the run directory, which the error names.
            last_step: at which the run ends.
            captions_per_image: mean of the training images; turns captions into images.
            rewarded: whether the objective is a reward, which is then written beside the loss.
        """
        self._write, self._every, self._workdir = write, every, workdir
        self._last_step, self._captions_per_image, self._rewarded = (
            last_step,
            captions_per_image,
            rewarded,
        )
        self.note = ""
        self._restart()

    def _restart(self) -> None:
        self._totals: Totals | None = None
        self._steps, self._waited, self._start = 0, 0.0, time.monotonic()

    def timed(self, batches: Iterable[Element]) -> Iterator[Element]:
        """Hands batches on and measures how long each was waited for.

        Args:
            batches: of one epoch.

        Yields:
            Each batch.
        """
        iterator = iter(batches)
        while True:
            start = time.monotonic()
            batch = next(iterator, None)
            self._waited += time.monotonic() - start
            if batch is None:
                return
            yield batch

    def add(self, totals: Totals, step: int, epoch: int) -> None:
        """Counts a step, and writes a line if one is due.

        Args:
            totals: of the step.
            step: its number, from 1.
            epoch: its number, from 1.
        """
        # Added on the device: a Python float here would wait for it at every step.
        before = self._totals or Totals(0.0, 0.0, 0.0, 0.0, 0.0)
        self._totals = Totals(*(a + b for a, b in zip(before, totals, strict=True)))
        self._steps += 1
        if step % self._every == 0:
            self.flush(step, epoch)

    def flush(self, step: int, epoch: int) -> None:
        """Writes what was added since the last line.

        Args:
            step: the last one counted.
            epoch: its number, from 1.

        Raises:
            RunError: the loss is no number.
        """
        if self._totals is None:
            return
        totals = Totals(*(float(part) for part in self._totals))
        seconds = max(time.monotonic() - self._start, 1e-6)
        loss = totals.loss / max(totals.tokens, 1.0)
        if not math.isfinite(loss):
            raise RunError(
                f"the loss is not a number at step {step}: lower --learning_rate or --clip_norm; "
                f"the last checkpoint in {self._workdir} is intact"
            )
        # The loss of self-critical training only has the right gradient: whether captions get
        # better shows in the reward alone.
        reward = {"reward": totals.reward / max(totals.captions, 1.0)} if self._rewarded else {}
        speeds = {
            "tokens_per_second": totals.tokens / seconds,
            "images_per_second": totals.captions / self._captions_per_image / seconds,
            "waiting": self._waited / seconds,
            # Of the training steps alone: early stopping may end the run before, and dev images
            # take time of their own.
            "seconds_left": (self._last_step - step) * seconds / self._steps,
        }
        self._write(
            step=step, epoch=epoch, loss=loss, **speeds, skipped_steps=totals.skipped, **reward
        )
        named = "".join(f"{name} {value:.3f}  " for name, value in {"loss": loss, **reward}.items())
        self.note = (
            f"{named}{speeds['tokens_per_second']:.0f} tokens/s  "
            f"{speeds['images_per_second']:.1f} images/s  waiting {speeds['waiting']:.0%}  run "
            f"{clock(speeds['seconds_left'])} left"
        )
        self._restart()
