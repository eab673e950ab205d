"""`python -m tests.bench.scale [bench.json]`: writes the tables of docs/train/scale.md anew.

With a file of `python -m tests.bench --part=scale` its figures go into docs/measurements.md first.
"""

import json
import sys
from pathlib import Path

from tests.bench.config import SCALE
from tests.bench.scale.assumptions import Assumptions
from tests.bench.scale.figures import Figures, from_rows, to_table
from tests.bench.scale.tables import (
    DOCUMENT,
    FIGURES,
    MEASUREMENTS,
    fill,
    load_figures,
    replace,
)
from tests.bench.table import Row


def main(arguments: list[str]) -> None:
    """Rewrites what stands between the marks of both documents."""
    if arguments:
        text = MEASUREMENTS.read_text(encoding="utf-8")
        table = to_table(read_figures(Path(arguments[0])))
        MEASUREMENTS.write_text(replace(text, FIGURES, table), encoding="utf-8")
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(fill(text, load_figures(), Assumptions()), encoding="utf-8")


def read_figures(path: Path) -> Figures:
    """The figures in a benchmark's file."""
    rows = json.loads(path.read_text(encoding="utf-8"))[SCALE]["rows"]
    return from_rows(
        [Row(**{key: row[key] for key in ("name", "ratio", "target", "note")}) for row in rows]
    )


if __name__ == "__main__":
    main(sys.argv[1:])
