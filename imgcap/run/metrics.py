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
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
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
    values = read_line(line)
    return float("inf") if values is None else float(values["step"])


def read_line(line: str) -> dict[str, float | str] | None:
    """Reads a line of the log.

    Args:
        line: as `Metrics.write` wrote it, or cut off by a kill, or damaged.

    Returns:
        The values by name, `step` among them, all numbers but texts that name things; None if the
        line is damaged.
    """
    try:
        values = json.loads(line)
    except ValueError:
        return None
    if not isinstance(values, dict) or not isinstance(values.get("step"), int):
        return None
    plain = all(isinstance(value, int | float | str) for value in values.values())
    return values if plain else None
