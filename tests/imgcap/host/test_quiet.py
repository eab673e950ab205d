"""What a command prints is its own: no line of TensorFlow's log among it."""

import gc
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from imgcap.host import quiet

LOG_LINE = re.compile(r"^[IWEF]\d{4} ", re.MULTILINE)


def run(program: str, *flags: str) -> str:
    script = f"import sys; from imgcap.cli.{program} import main; sys.exit(main())"
    # The tests' own setting would silence what users see.
    environment = {
        name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"
    }
    done = subprocess.run(
        [sys.executable, "-c", script, *flags],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_training_on_stored_features(train_flags: list[str], tmp_path: Path) -> None:
    printed = run("train", *train_flags, f"--workdir={tmp_path / 'run'}", "--max_steps=2")
    assert "epoch 1" in printed and not LOG_LINE.search(printed)


def test_sweep(workdir: Path, data_dir: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(workdir, tmp_path / "run")
    assert not LOG_LINE.search(
        run("evaluate", f"--workdir={copy}", f"--data_dir={data_dir}", "--sweep")
    )


@pytest.mark.parametrize("collects", [True, False])
def test_the_collector_pauses_for_the_import_alone(
    collects: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(gc, "isenabled", lambda: collects)
    for name in ("disable", "freeze", "enable"):
        monkeypatch.setattr(gc, name, lambda name=name: calls.append(name))
    monkeypatch.setitem(sys.modules, "tensorflow", pytest)  # stands for TensorFlow, imported
    quiet.import_tensorflow(devices=False)
    assert calls == []
    with quiet._uncollected():
        assert calls == ["disable"]
    assert calls == ["disable", "freeze", *(["enable"] if collects else [])]
