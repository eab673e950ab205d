"""The mean of captioners: by numpy, as a run like any other, and refused where it would mean
nothing.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest

from imgcap.cli import evaluate
from imgcap.cli.runs import average
from imgcap.run import checkpoints
from imgcap.run.restore import load_captioner, restore_step
from tests.support.sharing import forget_checksums


def weights(run: Path, step: int | None = None) -> list[np.ndarray]:
    captioner, _ = load_captioner(run)
    restore_step(run, captioner, checkpoints.best_step(run) if step is None else step)
    return [
        variable.numpy()
        for variable in (*captioner.decoder.variables, *captioner.encoder.variables)
    ]


def test_the_mean_of_all_checkpoints_is_a_run(
    workdir: Path, data_dir: Path, tmp_path: Path
) -> None:
    made, steps = tmp_path / "mean", checkpoints.steps(workdir)
    assert len(steps) > 1
    assert average.main(["a", str(workdir), f"--workdir={made}", "--checkpoints=kept"]) == 0
    kept = zip(*(weights(workdir, step) for step in steps), strict=True)
    for got, wanted in zip(
        weights(made), (np.mean(values, axis=0) for values in kept), strict=True
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-7)
    assert evaluate.main(["e", f"--workdir={made}", f"--data_dir={data_dir}", "--split=dev"]) == 0
    assert (made / "scores_dev.json").exists()


def test_the_best_of_one_run_is_that_run(workdir: Path, tmp_path: Path) -> None:
    assert average.main(["a", str(workdir), str(workdir), f"--workdir={tmp_path / 'same'}"]) == 0
    for got, wanted in zip(weights(tmp_path / "same"), weights(workdir), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_what_does_not_belong_together(
    workdir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(workdir, other)
    config = (other / "config.json").read_text()
    (other / "config.json").write_text(
        config.replace('"tie_weights": false', '"tie_weights": true')
    )
    forget_checksums(other)
    assert average.main(["a", str(workdir), str(other), f"--workdir={tmp_path / 'new'}"]) == 1
    assert "--tie_weights=True (not False): average runs of one model" in capsys.readouterr().err
    assert average.main(["a", str(workdir), f"--workdir={other}"]) == 1
    assert f"{other} exists: give a new --workdir" in capsys.readouterr().err
    assert average.main(["a", str(tmp_path), f"--workdir={tmp_path / 'new'}"]) == 1
    assert "config.json is missing: name run directories" in capsys.readouterr().err
    assert average.main(["a", f"--workdir={tmp_path / 'new'}"]) == 2
    assert "name run directories" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
