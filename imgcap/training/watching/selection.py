"""The choice of the best epoch: by dev CIDEr, smoothed over neighbouring epochs.

The CIDEr of 1,000 images has a 95 % interval of ± 3, and the greatest of several noisy numbers is
one that noise made great. The weights of neighbouring epochs are alike, so their scores say
something about each other: an epoch counts as the mean of its own score and its neighbours'.

    epoch        1     2     3     4
    dev CIDEr   40    50    46    47
    smoothed    45  45.3  47.7  46.5      the third is chosen, not the second

The last epoch has one neighbour until the next one is evaluated, so the choice may move back: the
checkpoints that may be chosen then are `Progression.contenders`.
"""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

from imgcap.run.checkpoints import Evaluation, Progression


def smooth_scores(ciders: Mapping[int, float]) -> dict[int, float]:
    """Computes the mean of each epoch's dev CIDEr and those of the epochs before and after it.

    Args:
        ciders: dev CIDEr x 100 by the number of the epoch; neighbours that are missing, such as
            that after the last, do not count.

    Returns:
        The mean by the number of the epoch, in the same order.
    """
    return {
        epoch: statistics.fmean(
            ciders[number] for number in (epoch - 1, epoch, epoch + 1) if number in ciders
        )
        for epoch in ciders
    }


def choose_best(evaluations: Sequence[Evaluation]) -> tuple[Evaluation, float]:
    """Chooses the epoch with the greatest smoothed dev CIDEr.

    Of equal ones, such as the two of a run of two epochs, the one with the greater CIDEr of its own
    is chosen, or else the earlier.

    Args:
        evaluations: in the order of the epochs, at least one.

    Returns:
        The epoch, and its smoothed CIDEr x 100.
    """
    return _greatest(_with_smoothed(evaluations))


def _with_smoothed(evaluations: Sequence[Evaluation]) -> list[tuple[Evaluation, float]]:
    smoothed = smooth_scores({evaluation.epoch: evaluation.cider for evaluation in evaluations})
    return [(evaluation, smoothed[evaluation.epoch]) for evaluation in evaluations]


def _greatest(smoothed: Sequence[tuple[Evaluation, float]]) -> tuple[Evaluation, float]:
    return max(smoothed, key=lambda pair: (pair[1], pair[0].cider))


def with_evaluation(progression: Progression, cider: float) -> Progression:
    """Counts the evaluation of the epoch that has just ended, and chooses the best epoch anew.

    Args:
        progression: where the run stands, with the choice of the epoch before.
        cider: dev CIDEr x 100.

    Returns:
        The same with the evaluation, the choice, and the steps that the next one may fall on.
    """
    epoch, step = progression.epoch, progression.step
    before = progression.evaluations or _evaluation_of_an_earlier_version(progression)
    evaluations = (*before, Evaluation(epoch, step, cider))
    best, _ = choose_best(evaluations)
    # The scores of all but the last epoch are final: the best of them stays the best of them.
    final = _with_smoothed(evaluations)[:-1]
    return dataclasses.replace(
        progression,
        best_cider=best.cider,
        best_step=best.step,
        epochs_since_best=epoch - best.epoch,
        evaluations=evaluations,
        contenders=(*([_greatest(final)[0].step] if final else []), step),
    )


def _evaluation_of_an_earlier_version(progression: Progression) -> tuple[Evaluation, ...]:
    """The one evaluation of which a state without a history tells: that of the best epoch."""
    if not progression.best_step:
        return ()
    epoch = progression.epoch - 1 - progression.epochs_since_best
    return (Evaluation(epoch, progression.best_step, progression.best_cider),)


def describe_best(progression: Progression) -> str:
    """Says which epoch is the best one so far, and why.

    Args:
        progression: of a run with at least one evaluated epoch.
    """
    if not progression.evaluations:
        return f"best dev CIDEr {progression.best_cider:.1f} at step {progression.best_step}"
    best, smoothed = choose_best(progression.evaluations)
    return (
        f"best epoch {best.epoch} (step {best.step}): dev CIDEr {best.cider:.1f}, smoothed over "
        f"neighbouring epochs {smoothed:.1f}"
    )
