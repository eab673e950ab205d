"""What a window of steps is worth: worked by hand, on a clock that stands still unless told."""

import json
from pathlib import Path

import pytest

from imgcap.errors import RunError
from imgcap.run.metrics import Metrics
from imgcap.training.step import Totals
from imgcap.training.watching import training_log
from imgcap.training.watching.training_log import TrainingLog


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(training_log, "time", made)
    return made


def make_log(workdir: Path) -> TrainingLog:
    return TrainingLog(Metrics(workdir, 0).write, 2, workdir, last_step=10, captions_per_image=5.0)


def test_a_line_of_two_steps(clock: Clock, tmp_path: Path) -> None:
    log = make_log(tmp_path)

    def batches():
        for number in (1, 2):
            clock.now += 0.5  # The pipeline takes half a second a batch, the step one and a half.
            yield number

    for number in log.timed(batches()):
        clock.now += 1.5
        log.add(Totals(loss=30.0, tokens=20.0, captions=4.0, skipped=0.0), number, 1)
    line = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert line == {
        "step": 2,
        "epoch": 1,
        "loss": 1.5,
        "tokens_per_second": 10.0,
        "images_per_second": 0.4,
        "waiting": 0.25,
        "seconds_left": 16.0,
        "skipped_steps": 0.0,
    }
    assert log.note == "loss 1.500  10 tokens/s  0.4 images/s  waiting 25%  run 0:16 left"


def test_what_samples_earn_stands_beside_the_loss(clock: Clock, tmp_path: Path) -> None:
    log = TrainingLog(
        Metrics(tmp_path, 0).write, 1, tmp_path, last_step=10, captions_per_image=5.0, rewarded=True
    )
    clock.now += 1
    log.add(Totals(loss=-3.0, tokens=30.0, captions=4.0, skipped=0.0, reward=5.0), 1, 1)
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["reward"] == 1.25
    assert log.note.startswith("loss -0.100  reward 1.250  30 tokens/s")


def test_no_line_before_it_is_due(clock: Clock, tmp_path: Path) -> None:
    log = make_log(tmp_path)
    log.flush(0, 1)
    log.add(Totals(1.0, 1.0, 1.0, 0.0), 1, 1)
    assert not (tmp_path / "metrics.jsonl").exists()
    log.flush(1, 1)
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["step"] == 1


def test_a_loss_that_is_no_number_is_not_written(clock: Clock, tmp_path: Path) -> None:
    log = make_log(tmp_path)
    log.add(Totals(float("nan"), 1.0, 1.0, 0.0), 1, 1)
    with pytest.raises(RunError, match="the loss is not a number at step 1"):
        log.flush(1, 1)
    assert not (tmp_path / "metrics.jsonl").exists()
