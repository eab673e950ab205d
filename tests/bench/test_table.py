"""Ratios and their targets, as text and as a file that several benchmarks share."""

import json
from pathlib import Path

import pytest

from imgcap.errors import ConfigError
from tests.bench import table
from tests.bench.table import Row


@pytest.mark.parametrize(
    ("ratio", "target", "reached"),
    [
        (1.5, "≥ 1.5", True),
        (1.49, "≥ 1.5", False),
        (20.0, "≥ 1.5", True),
        (1.1, "≤ 1.1", True),
        (1.11, "≤ 1.1", False),
        (0.2, "≤ 1.1", True),
        (0.0, "", True),
    ],
)
def test_targets(ratio: float, target: str, reached: bool) -> None:
    assert Row("speed", ratio, target, "").reached() == reached


def test_the_table() -> None:
    rows = [Row("size", 1.0512, "≤ 1.1", "all"), Row("a longer name", 12.0, "", "")]
    assert table.format_table(rows).splitlines() == [
        "measure        ratio  target  note",
        "size           1.05   ≤ 1.1   all",
        "a longer name  12.00",
    ]
    assert table.format_table([Row("size", 1.2, "≤ 1.1", "")]).splitlines()[2:] == ["missed: size"]


def test_tables_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    for name, ratio in (("training", 1.0), ("export", 2.0), ("training", 3.0)):
        table.write_table(path, name, [Row("speed", ratio, "≥ 2", "how")])
    written = json.loads(path.read_text())
    assert {name: content["rows"] for name, content in written.items()} == {
        "training": [
            {"name": "speed", "ratio": 3.0, "target": "≥ 2", "note": "how", "reached": True}
        ],
        "export": [
            {"name": "speed", "ratio": 2.0, "target": "≥ 2", "note": "how", "reached": True}
        ],
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "can't be read"), ("[]", "holds no tables"), ('{"cores": 2}', "holds no tables")],
)
def test_other_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "bench.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        table.load_tables(path)
    assert path.read_text() == content


def test_a_folder_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no folder"):
        table.load_tables(tmp_path / "absent" / "bench.json")
