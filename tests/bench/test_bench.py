"""The benchmark as a command: which parts it measures, and what it refuses."""

import json
from pathlib import Path

import pytest

from imgcap.cli import command
from tests.bench import export, serving
from tests.bench.__main__ import COMMAND
from tests.bench.table import Row
from tests.bench.training import suite


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ([], ["training", "export", "scale"]),
        (["--model_base_path=models"], ["training", "export", "scale", "serving"]),
        (["--part=export"], ["export"]),
        (["--part=serving", "--model_base_path=models"], ["serving"]),
    ],
)
def test_each_part_is_kept_as_it_ends(
    flags: list[str],
    parts: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output, kept = tmp_path / "bench.json", list[list[str]]()

    def measure(name: str) -> list[Row]:
        kept.append(list(json.loads(output.read_text())) if output.exists() else [])
        return [Row(f"speed of {name}", 2.0, "≥ 1.5", "by hand")]

    monkeypatch.setattr(suite, "measure_training", lambda *settings: measure("training"))
    monkeypatch.setattr(export, "measure_export", lambda *settings: measure("export"))
    monkeypatch.setattr("tests.bench.scale.suite.measure_scale", lambda *settings: measure("scale"))
    monkeypatch.setattr(serving, "measure_serving", lambda *settings: measure("serving"))
    monkeypatch.setattr(serving, "newest_version", lambda path: path / "1")
    assert command.main(COMMAND, ["bench", f"--output={output}", *flags]) == 0
    assert list(json.loads(output.read_text())) == parts
    assert kept == [parts[:place] for place in range(len(parts))]
    printed = capsys.readouterr().out
    assert [part for part in parts if f"speed of {part}  2.00   ≥ 1.5" in printed] == parts


def test_wrong_use_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for flag, message in (
        (f"--output={tmp_path}/no/bench.json", "is no folder"),
        (f"--data_dir={tmp_path}", "is missing"),
    ):
        assert command.main(COMMAND, ["bench", flag]) != 0
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


def test_nothing_to_serve_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(COMMAND, ["bench", f"--model_base_path={tmp_path / 'none'}"]) == 1
    assert "none does not exist: export a model" in capsys.readouterr().err.strip().splitlines()[-1]
    assert command.main(COMMAND, ["bench", "--part=serving"]) == 2
    assert "name it with --model_base_path" in capsys.readouterr().err
