"""Checkpoints: never an instant without one, and errors that name the file."""

from pathlib import Path

import pytest
import tensorflow as tf

from imgcap.errors import RunError
from imgcap.run import checkpoints
from imgcap.run.checkpoints import Progression


def test_the_same_step_again_changes_its_state_alone(tmp_path: Path) -> None:
    variables = {"decoder": [tf.Variable([1.0, 2.0])]}
    checkpoints.save(tmp_path, variables, Progression(step=3, batch=3), keep=1)
    folder = tmp_path / "checkpoints" / "3"
    weights = {path.name: path.stat().st_ino for path in folder.glob("weights*")}
    inode = folder.stat().st_ino
    checkpoints.save(tmp_path, variables, Progression(step=3, epoch=1), keep=1)
    assert folder.stat().st_ino == inode
    assert weights == {path.name: path.stat().st_ino for path in folder.glob("weights*")}
    assert checkpoints.latest(tmp_path) == Progression(step=3, epoch=1)


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    variables = {"decoder": [tf.Variable([1.0, 2.0])]}
    for step in (1, 2, 3):
        checkpoints.save(tmp_path, variables, Progression(step=step), keep=3)
    (tmp_path / "checkpoints" / ".4.1234.0.unfinished").mkdir()
    checkpoints.prune(tmp_path, needed=[1], keep=1)
    left = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert left == ["1", "3"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"step": 3, "stop": 4}', "does not say where the run stands"),
        ("[3]", "holds no JSON object"),
        ('{"step": 3, "checksum": "0123456789abcdef"}', "was changed or is damaged"),
    ],
)
def test_a_state_that_says_nothing(tmp_path: Path, text: str, message: str) -> None:
    folder = tmp_path / "checkpoints" / "3"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(text)
    with pytest.raises(RunError, match=f"3/state.json {message}.*remove that checkpoint"):
        checkpoints.latest(tmp_path)
