"""The choice of the best epoch on lists of scores that are worked out by hand."""

import dataclasses
import json
from pathlib import Path

import pytest
import tensorflow as tf

from imgcap.run import checkpoints
from imgcap.run.checkpoints import Evaluation, Progression
from imgcap.training.watching.selection import (
    choose_best,
    describe_best,
    smooth_scores,
    with_evaluation,
)


def steps_of(ciders: list[float]) -> list[Progression]:
    """Where a run of 10 steps an epoch stands after each of its epochs."""
    found, progression = [], Progression()
    for epoch, cider in enumerate(ciders, start=1):
        progression = dataclasses.replace(progression, epoch=epoch, step=10 * epoch)
        progression = with_evaluation(progression, cider)
        found.append(progression)
    return found


def test_a_score_is_the_mean_with_its_neighbours() -> None:
    # (40 + 50) / 2, (40 + 50 + 46) / 3, (50 + 46 + 47) / 3, (46 + 47) / 2
    assert smooth_scores({1: 40.0, 2: 50.0, 3: 46.0, 4: 47.0}) == pytest.approx(
        {1: 45.0, 2: 136 / 3, 3: 143 / 3, 4: 46.5}
    )
    # A gap is no neighbour.
    assert smooth_scores({1: 40.0, 4: 47.0, 5: 49.0}) == {1: 40.0, 4: 48.0, 5: 48.0}
    assert smooth_scores({}) == {}


@pytest.mark.parametrize(
    ("ciders", "best"),
    [
        ([40.0], 1),
        # Both have the mean of the two: their own scores decide, and then the earlier one.
        ([40.0, 41.0], 2),
        ([41.0, 40.0], 1),
        ([40.0, 40.0], 1),
        # The lucky second epoch is not chosen.
        ([40.0, 50.0, 46.0, 47.0], 3),
        # 30, 40, 50, 55: the scores still rise, and the last one is the best.
        ([20.0, 40.0, 60.0, 50.0], 4),
        ([0.0, 0.0, 0.0], 1),
    ],
)
def test_the_choice_by_hand(ciders: list[float], best: int) -> None:
    last = steps_of(ciders)[-1]
    assert last.best_step == 10 * best
    assert last.best_cider == ciders[best - 1]
    assert last.epochs_since_best == len(ciders) - best


def test_the_choice_may_move_back() -> None:
    # After the third epoch it is the best by one neighbour, (44 + 48) / 2 = 46; with the fourth it
    # falls to 43.3, and the second is the best by (46 + 44 + 48) / 3 = 46.
    found = steps_of([46.0, 44.0, 48.0, 38.0])
    assert [one.best_step for one in found] == [10, 10, 30, 20]
    assert smooth_scores({1: 46.0, 2: 44.0, 3: 48.0, 4: 38.0})[2] == 46.0
    assert [one.epochs_since_best for one in found] == [0, 1, 0, 2]


@pytest.mark.parametrize("seed", range(5))
def test_the_next_choice_has_a_checkpoint(seed: int, tmp_path: Path) -> None:
    """Whatever the scores are: what is chosen after an epoch was not removed before."""
    ciders = tf.random.stateless_uniform([12], [seed, 0], 0, 50).numpy().tolist()
    variables = {"decoder": [tf.Variable([1.0])]}
    for here in steps_of(ciders):
        checkpoints.save(tmp_path, variables, here, keep=1)
        # Within the next epoch, so that the epoch's own is not the last any more.
        within = dataclasses.replace(here, step=here.step + 5, batch=5)
        checkpoints.save(tmp_path, variables, within, keep=1)
        there = checkpoints.steps(tmp_path)
        assert checkpoints.best_step(tmp_path) == here.best_step and here.best_step in there
        assert {*here.contenders, within.step} <= set(there) and len(there) <= 4
        best, _ = choose_best(here.evaluations)
        assert best.step == here.best_step
        # It comes back from the disk as it was.
        assert checkpoints.latest(tmp_path) == within


def test_a_resumed_run_chooses_as_an_undisturbed_one(tmp_path: Path) -> None:
    whole = steps_of([46.0, 44.0, 48.0, 38.0, 47.0])
    checkpoints.save(tmp_path, {"decoder": [tf.Variable([1.0])]}, whole[2], keep=1)
    here = checkpoints.latest(tmp_path)
    for expected, cider in zip(whole[3:], [38.0, 47.0], strict=True):
        here = dataclasses.replace(here, epoch=here.epoch + 1, step=here.step + 10)
        here = with_evaluation(here, cider)
        assert here == expected


@pytest.mark.parametrize("epochs_since_best", [0, 2])
def test_a_run_of_an_earlier_version_goes_on(epochs_since_best: int, tmp_path: Path) -> None:
    """Its state tells of the best epoch alone, by its own score."""
    best = 50 - 10 * epochs_since_best
    state = {"step": 50, "epoch": 5, "batch": 0, "best_cider": 45.0, "best_step": best}
    folder = tmp_path / "checkpoints" / "50"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(
        json.dumps({**state, "epochs_since_best": epochs_since_best})
    )
    found = checkpoints.latest(tmp_path)
    assert found.needed == {best}
    assert describe_best(found) == f"best dev CIDEr 45.0 at step {best}"
    after = with_evaluation(dataclasses.replace(found, step=60, epoch=6), 46.0)
    assert after.evaluations == (
        Evaluation(5 - epochs_since_best, best, 45.0),
        Evaluation(6, 60, 46.0),
    )
    # A neighbour counts; one of two epochs before does not. Either way the new epoch is the better.
    assert smooth_scores({one.epoch: one.cider for one in after.evaluations})[6] == (
        45.5 if epochs_since_best == 0 else 46.0
    )
    assert after.best_step == 60 and after.contenders == (best, 60)


def test_the_best_epoch_is_told_with_the_reason() -> None:
    last = steps_of([40.0, 50.0, 46.0, 47.0])[-1]
    assert describe_best(last) == (
        "best epoch 3 (step 30): dev CIDEr 46.0, smoothed over neighbouring epochs 47.7"
    )
