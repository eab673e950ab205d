"""The benchmark of ensembles: its rows by hand."""

import pytest

from tests.bench.export.ensemble import Taken, ensemble_rows


def test_rows_by_hand() -> None:
    alone = [Taken(1.6, 3.2), Taken(3.2, 3.2), Taken(1.6, 1.6)]
    together = [Taken(1.92, 6.4), Taken(8.0, 4.8), Taken(2.0, 3.2)]
    wall, cpu = ensemble_rows("three", alone, together)
    # The turns' ratios are 1.2, 2.5, 1.25 and 2, 1.5, 2.
    assert (wall.name, wall.ratio, wall.target) == ("three, wall time", 1.25, "≤ 1.25")
    assert wall.note == "125.0 against 100.0 ms an image" and wall.reached()
    assert (cpu.name, cpu.ratio, cpu.target) == ("three, cpu time", pytest.approx(2), "")
