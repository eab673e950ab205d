"""Run directories under names that TensorFlow would read as patterns or cannot read as text."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from imgcap.cli import evaluate, train
from imgcap.cli.runs import average, ensemble, pack
from imgcap.files.names import read_name
from imgcap.run.checkpoints import (
    Progression,
    read_variables,
    restore,
    save,
    steps,
    write_variables,
)
from serving.cli import caption
from tests.support.paths import ALL_AT_ONCE, HOSTILE_NAMES


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_variables_are_read_from_any_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    write_variables(tmp_path / name / "weights", {"part": [tf.Variable([1.0, 2.0])]})
    read = tf.Variable([0.0, 0.0])
    read_variables(tmp_path / name / "weights", {"part": [read]})
    np.testing.assert_array_equal(read, [1.0, 2.0])


def test_a_pattern_never_reads_the_run_that_it_matches(tmp_path: Path) -> None:
    for folder, value in (("run1", 1.0), ("run[1]", 2.0)):
        save(tmp_path / folder, {"part": [tf.Variable(value)]}, Progression(step=5), keep=1)
    read = tf.Variable(0.0)
    restore(tmp_path / "run[1]", 5, {"part": [read]})
    assert read.numpy() == 2.0


def test_checkpoints_are_kept_and_removed_where_renaming_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: Path, target: Path) -> Path:
        raise OSError(18, os.strerror(18), str(source))

    monkeypatch.setattr(Path, "replace", fail)
    monkeypatch.setattr(Path, "rename", fail)
    for step in (1, 2, 2, 3):
        save(tmp_path, {"part": [tf.Variable(float(step))]}, Progression(step=step), keep=2)
    assert steps(tmp_path) == [2, 3]
    read = tf.Variable(0.0)
    restore(tmp_path, 2, {"part": [read]})
    assert read.numpy() == 2.0


@pytest.fixture(scope="module")
def odd(workdir: Path, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose name stumbles, with a run and its data under names of this kind."""
    folder = tmp_path_factory.mktemp("odd") / ALL_AT_ONCE
    folder.mkdir()
    shutil.copytree(workdir, folder / "run_lr=[0.001]")
    shutil.copytree(data_dir, folder / "data [0]")
    return folder


def test_a_run_under_any_name_resumes_and_is_evaluated(
    odd: Path, train_flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run, data = odd / "run_lr=[0.001]", odd / "data [0]"
    flags = [f"--data_dir={data}", f"--cache_dir={odd}/features?", *train_flags[1:]]
    assert train.main(["imgcap-train", f"--workdir={run}", *flags]) == 0
    assert "resumed" in capsys.readouterr().out
    assert evaluate.main(["imgcap-evaluate", f"--workdir={run}", f"--data_dir={data}"]) == 0
    assert {"scores_test.json", "captions_test.jsonl", "contact_sheet_test.html"} <= set(
        os.listdir(run)
    )
    for made in {*run.glob("*_test.*")} - {*run.glob("*.png")}:
        made.read_bytes().decode("utf-8")


def test_a_run_under_any_name_is_averaged_packed_and_captioned_with(
    odd: Path, raw_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, mean, packed = odd / "run_lr=[0.001]", odd / "mean*", odd / "packed[1]"
    both = odd / os.fsdecode(b"both \xe9?")
    assert average.main(["imgcap-average", f"--workdir={mean}", str(run), str(run)]) == 0
    assert ensemble.main(["imgcap-ensemble", f"--workdir={both}", str(mean), str(run)]) == 0
    assert pack.main(["imgcap-pack", f"--output_dir={packed}", str(both)]) == 0
    photo = odd / os.fsdecode(b"caf\xe9.jpg")
    shutil.copy(raw_dir / "Images" / "scene_0000.jpg", photo)
    output = odd / os.fsdecode(b"\xe9.jsonl")
    flags = ["--local", f"--workdir={packed}", f"--jsonl_output={output}"]
    assert caption.main(["imgcap-caption", *flags, str(photo)]) == 0
    (line,) = output.read_bytes().decode("utf-8").splitlines()
    assert read_name(json.loads(line)["image"]) == str(photo)
    assert json.loads(line)["caption"]
    assert capsys.readouterr().err == ""
