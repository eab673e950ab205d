"""`metrics.jsonl`: the numbers that a run logs; a resumed run appends to them."""

import json
import os
from pathlib import Path

from imgcap import files

METRICS = "metrics.jsonl"


class Metrics:
    """Writer of `metrics.jsonl`: one JSON object a logged step, on the disk at once."""

    def __init__(self, workdir: Path | None, step: int) -> None:
        """Opens the file and drops lines after `step`, which a resumed run writes again.

        Args:
            workdir: the run directory; None if another process writes the metrics.
            step: at which the run goes on.
        """
        self._path = workdir / METRICS if workdir else None
        if self._path and self._path.exists():
            lines = self._path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if _step_of(line) <= step]
            files.write_text(self._path, "".join(f"{line}\n" for line in kept))

    def write(self, **values: float | int | str) -> None:
        """Appends one line, an object of these values."""
        if not self._path:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _step_of(line: str) -> float:
    """The step that a line is about; infinity if the line is damaged."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        # A line cut off by a kill: drop it.
        return float("inf")
