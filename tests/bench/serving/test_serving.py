"""The ratios of serving: by hand, and of a toy from end to end."""

import json
from collections import Counter
from pathlib import Path

import pytest

from imgcap.cli import command
from serving.cli.load import Load, Measurement
from tests.bench.__main__ import COMMAND
from tests.bench.serving.suite import callers_row, overload_rows
from tests.support.toy_model import write_toy_model

NAMES = {
    "gRPC over loopback ÷ SavedModel in process, batch 1": "≤ 1.10",
    "32 callers against one, captions a second": "≥ 1.8",
    "4 × capacity offered: answered ÷ capacity": "≥ 0.80",
    "4 × capacity offered: p99 ÷ p99 at capacity": "≤ 4",
}


def test_ratios_by_hand() -> None:
    one = Measurement(Load(10, concurrency=1), 10.0, [0.1] * 100)
    many = Measurement(Load(10, concurrency=32), 10.0, [1.6] * 190)
    over = Measurement(Load(30, rate=76), 30.0, [4.0] * 540, errors=Counter(Overloaded=1740))
    row = callers_row(one, many)
    assert row.ratio == pytest.approx(1.9) and row.note.startswith("19.0 against 10.0 captions/s")
    goodput, wait = overload_rows(many, over)
    assert goodput.ratio == pytest.approx(18 / 19) and "refused: 1740 Overloaded" in goodput.note
    assert wait.ratio == pytest.approx(2.5) and wait.note.startswith("4000 against 1600 ms")


def test_the_whole_on_a_toy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_toy_model(tmp_path / "models" / "1", "v1")
    flags = [f"--model_base_path={tmp_path / 'models'}", "--repetitions=1", "--seconds=0.5"]
    assert (
        command.main(
            COMMAND, ["bench", "--part=serving", *flags, f"--output={tmp_path / 'bench.json'}"]
        )
        == 0
    )
    rows = json.loads((tmp_path / "bench.json").read_text())["serving"]["rows"]
    assert {row["name"]: row["target"] for row in rows} == NAMES
    assert all(row["ratio"] > 0 for row in rows)
    assert all(name in capsys.readouterr().out for name in list(NAMES)[:1])
