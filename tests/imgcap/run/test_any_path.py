"""Run directories under names that TensorFlow would read as patterns or cannot read as text."""

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from imgcap.run.checkpoints import (
    Progression,
    read_variables,
    restore,
    save,
    steps,
    write_variables,
)
from tests.support.hostile_names import HOSTILE_NAMES


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
