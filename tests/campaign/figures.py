"""The figures of a campaign: how often each thing was tried and held, counted and as a table."""

import sys
from collections.abc import Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """One line of a campaign's table.

    Attributes:
        name: what was tried, such as 'train'.
        tried: how often; 0 if it only informs.
        held: how often it held.
        note: a few words more, such as a measured size beside its limit; may be empty.
    """

    name: str
    tried: int
    held: int
    note: str = ""


class Tally:
    """Counts what held and says at once, on standard error, what did not."""

    def __init__(self, *names: str) -> None:
        """Begins at zero.

        Args:
            names: rows that the table has in this order, even if they are never tried.
        """
        self._tried = dict.fromkeys(names, 0)
        self._failed = dict.fromkeys(names, 0)

    def add(self, name: str, problem: str = "", case: object = "") -> None:
        """Counts one attempt.

        Args:
            name: of the row.
            problem: what did not hold; empty if all did.
            case: what it takes to do the same again, such as a seed; shown with the problem.
        """
        self._tried[name] = self._tried.get(name, 0) + 1
        self._failed.setdefault(name, 0)
        if problem:
            self._failed[name] += 1
            shown = f" [{case}]" if case != "" else ""
            print(f"did not hold: {name}{shown}: {problem}", file=sys.stderr, flush=True)

    def rows(self) -> list[Row]:
        """The counts, a row a name, in the order of the first mention."""
        return [Row(name, tried, tried - self._failed[name]) for name, tried in self._tried.items()]


def all_held(rows: Sequence[Row]) -> bool:
    """Whether every attempt held."""
    return all(row.held == row.tried for row in rows)


def format_table(rows: Sequence[Row]) -> str:
    """Rows as text.

    Args:
        rows: at least one.

    Returns:
        Lines of equal columns, heads first; then the rows that did not hold, if any.
    """
    cells = [
        ("campaign", "tried", "held", "note"),
        *((row.name, str(row.tried or ""), str(row.held or ""), row.note) for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        f"{name:<{widths[0]}}  {tried:>{widths[1]}}  {held:>{widths[2]}}  {note}".rstrip()
        for name, tried, held, note in cells
    ]
    broken = [
        f"did not hold: {row.name} ({row.tried - row.held} of {row.tried})"
        for row in rows
        if row.held != row.tried
    ]
    return "\n".join([*lines, *broken])
