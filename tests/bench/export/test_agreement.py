"""Whether exports say the same: by hand, and of versions that do."""

import json
import shutil
from pathlib import Path

import pytest

from imgcap.cli import command
from tests.bench.export import agreement
from tests.bench.export.agreement import Captioned
from tests.bench.table import Row


def test_agreement_by_hand() -> None:
    one = Captioned({"a": "a dog", "b": "a cat", "c": "a man", "d": "a boat"}, 40.0)
    other = Captioned({"a": "a dog", "b": "a cat", "c": "a woman", "d": "a boat"}, 39.25)
    equal, cider = agreement.agreement_rows("2 against 1", 0.97, one, other)
    assert (
        equal == Row("equal captions, 2 against 1", 0.75, "≥ 0.97", "3 of 4")
        and not equal.reached()
    )
    assert (
        cider == Row("CIDEr apart, 2 against 1", 0.75, "≤ 0.5", "39.25 against 40.00")
        and not cider.reached()
    )


def test_a_version_agrees_with_itself(
    models: Path, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in "12":
        shutil.copytree(models / "1", tmp_path / "models" / number)
    flags = [
        f"--model_base_path={tmp_path / 'models'}",
        "--versions=1,2",
        f"--data_dir={data_dir}",
        "--images=3",
    ]
    assert command.main(agreement.COMMAND, ["a", *flags, f"--output={tmp_path / 'rows.json'}"]) == 0
    rows = json.loads((tmp_path / "rows.json").read_text())["agreement"]["rows"]
    assert [(row["ratio"], row["note"].split(" against")[0]) for row in rows][0] == (1.0, "3 of 3")
    assert rows[1]["ratio"] == 0 and "version 2 (none) against 1 (none)" in capsys.readouterr().out


def test_a_version_that_is_not_there(
    models: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [f"--model_base_path={models}", "--versions=1,77", f"--data_dir={data_dir}"]
    assert command.main(agreement.COMMAND, ["a", *flags]) == 1
    assert f"{models}/77/manifest.json" in capsys.readouterr().err.strip().splitlines()[-1]
