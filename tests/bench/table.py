"""Ratios measured in one run, as a table for people and as a JSON file for programs."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from imgcap import files
from imgcap.errors import ConfigError


class Row(NamedTuple):
    """One line of the table.

    Attributes:
        name: what is compared with what.
        ratio: times as fast, as long or as large, as the name says; None if it was not measured.
        target: what must be reached, such as '≥ 1.5' or '≤ 1.1'; empty for a line that only
            informs.
        note: how it was measured.
    """

    name: str
    ratio: float | None
    target: str
    note: str

    def reached(self) -> bool | None:
        """Whether the target is met; a line without one always is, one without a ratio neither."""
        if self.ratio is None:
            return None
        if not self.target:
            return True
        direction, bound = self.target.split()
        return self.ratio >= float(bound) if direction == "≥" else self.ratio <= float(bound)


def format_table(rows: Sequence[Row]) -> str:
    """Rows as text.

    Args:
        rows: at least one.

    Returns:
        Lines of equal columns, heads first; then which targets were missed, if any.
    """
    cells = [
        ("measure", "ratio", "target", "note"),
        *((row.name, "–" if row.ratio is None else f"{row.ratio:.2f}", *row[2:]) for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
    missed = [f"missed: {row.name}" for row in rows if row.reached() is False]
    return "\n".join([*lines, *missed])


def measure_and_keep(name: str, output: str, measure: Callable[[], Sequence[Row]]) -> None:
    """Measures, prints the table and keeps it; refuses an unusable output before the measuring.

    Args:
        name: of the table.
        output: a JSON file; empty keeps nothing.
        measure: makes the rows.

    Raises:
        ConfigError: as `load_tables`.
    """
    if output:
        load_tables(Path(output))
    rows = measure()
    print(format_table(rows))
    if output:
        write_table(Path(output), name, rows)


def load_tables(path: Path) -> dict[str, Any]:
    """Reads the tables that a file holds already, and checks that it can be written.

    Args:
        path: a JSON file by `write_table`, or one that is not there yet.

    Returns:
        Tables by their names.

    Raises:
        ConfigError: the file holds something else, or its folder is missing.
    """
    if not path.parent.is_dir():
        raise ConfigError(
            f"--output={path}: {path.parent} is no folder: make it, or name another file"
        )
    if not path.exists():
        return {}
    tables = files.read_json(path, ConfigError, "give another --output")
    if not (
        isinstance(tables, dict)
        and all(isinstance(table, dict) and "rows" in table for table in tables.values())
    ):
        raise ConfigError(f"--output={path} holds no tables of measurements: give another file")
    return tables


def write_table(path: Path, name: str, rows: Sequence[Row]) -> None:
    """Puts a table into a JSON file, beside those of other names.

    Args:
        path: the file; made if absent.
        name: of the table; one of that name is replaced.
        rows: of the table.
    """
    entries = [{**row._asdict(), "reached": row.reached()} for row in rows]
    files.write_json(path, {**load_tables(path), name: {"cores": os.cpu_count(), "rows": entries}})
