"""The numbers that a run logs: `metrics.jsonl`, which a resumed run goes on with."""

import json
import os
from pathlib import Path

from imgcap import files

METRICS = "metrics.jsonl"


class Metrics:
    """`metrics.jsonl`: one object a logged step, flushed at once."""

    def __init__(self, workdir: Path | None, step: int) -> None:
        """Opens the file and drops lines behind `step`: a resumed run writes them again.

        Args:
            workdir: the run directory; None where another process writes them.
            step: where the run goes on.
        """
        self._path = workdir / METRICS if workdir else None
        if self._path and self._path.exists():
            lines = self._path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if _step_of(line) <= step]
            files.write_text(self._path, "".join(f"{line}\n" for line in kept))

    def write(self, **values: float | int | str) -> None:
        """Appends one line."""
        if not self._path:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        # A line cut off by a kill: drop it.
        return float("inf")
