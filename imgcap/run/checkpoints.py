"""Checkpoints of a run: weights, optimizer and progression, each of them never half-written."""

import dataclasses
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from imgcap.errors import RunError
from imgcap.files.checked import read_checked, write_checked
from imgcap.files.literal import literal_folder
from imgcap.files.moving import UNFINISHED, discard
from imgcap.files.unfinished import finish_folder, remove_abandoned, unfinished_folder
from imgcap.host.disk_errors import told_of

CHECKPOINTS, STATE, WEIGHTS = "checkpoints", "state.json", "weights"
ENCODER_WEIGHTS = "encoder"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
"""What TensorFlow adds to the place of a variable in a checkpoint to name its value."""


class Evaluation(NamedTuple):
    """The dev score at the end of one epoch.

    Attributes:
        epoch: its number, from 1.
        step: optimizer steps taken by then.
        cider: dev CIDEr x 100.
    """

    epoch: int
    step: int
    cider: float


@dataclass(frozen=True)
class Progression:
    """Where a run stands: all that a checkpoint holds beside variables.

    Attributes:
        step: optimizer steps taken.
        epoch: epochs finished.
        batch: global batches of the current epoch that were trained.
        best_cider: dev CIDEr x 100 of the best epoch so far; -1 before the first evaluation.
        best_step: the step at the end of that epoch.
        epochs_since_best: epochs since then.
        evaluations: of all epochs, in order, by which the best one is chosen; runs of earlier
            versions lack them.
        contenders: steps of the epochs of which one will be the best after the next epoch, if not
            that one itself.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    best_cider: float = -1.0
    best_step: int = 0
    epochs_since_best: int = 0
    evaluations: tuple[Evaluation, ...] = ()
    contenders: tuple[int, ...] = ()

    @property
    def needed(self) -> set[int]:
        """The steps whose checkpoints must stay."""
        return {self.best_step, *self.contenders}


Variables = Mapping[str, Sequence[tf.Variable]]
"""The variables of a checkpoint, by the name of their part: 'decoder', 'optimizer', …"""


def tf_variables(variables: Iterable[keras.Variable]) -> list[tf.Variable]:
    """Unwraps Keras' variables to those of TensorFlow, which checkpoints and gradients need."""
    return [variable.value for variable in variables]


def save(workdir: Path, variables: Variables, progression: Progression, keep: int) -> None:
    """Writes one checkpoint, then removes those that `prune` removes.

    Args:
        workdir: the run directory.
        variables: what to save, by name.
        progression: where the run stands.
        keep: the number of the last checkpoints to keep, beside the best one.

    Raises:
        RunError: the disk is full or the folder can't be written; earlier checkpoints stay.
    """
    final = workdir / CHECKPOINTS / str(progression.step)
    state = dataclasses.asdict(progression)
    try:
        if final.exists():
            # Weights after a step are the same whenever they are saved. Written anew, there would
            # be an instant without any.
            write_checked(final / STATE, state)
        else:
            with unfinished_folder(final) as unfinished:
                write_variables(unfinished / WEIGHTS, variables)
                write_checked(unfinished / STATE, state)
                finish_folder(unfinished, final)
    except OSError as error:
        raise RunError(
            f"{final} can't be written ({str(error).splitlines()[0][:160]}): free the disk and run "
            "the same command again; the last checkpoint is intact"
        ) from None
    prune(workdir, progression.needed, keep)


def prune(workdir: Path, needed: Collection[int], keep: int) -> None:
    """Removes checkpoints that no one needs, and what was left half-written.

    Args:
        workdir: the run directory.
        needed: steps whose checkpoints stay: the best one, and those that may yet become it.
        keep: the number of the last checkpoints that stay too.
    """
    folder = workdir / CHECKPOINTS
    for step in steps(workdir)[:-keep]:
        if step not in needed:
            discard(folder / str(step))
    remove_abandoned(folder)
    for leftover in folder.glob(f"[0-9]*{UNFINISHED}"):  # Of earlier versions of imgcap.
        shutil.rmtree(leftover, ignore_errors=True)


def steps(workdir: Path) -> list[int]:
    """The steps whose checkpoints a run has, in order."""
    folder = workdir / CHECKPOINTS
    return (
        sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())
        if folder.is_dir()
        else []
    )


def latest(workdir: Path) -> Progression | None:
    """Where the run stands by its last checkpoint; None before the first.

    Raises:
        RunError: its state can't be read.
    """
    found = steps(workdir)
    if not found:
        return None
    path = workdir / CHECKPOINTS / str(found[-1]) / STATE
    remedy = "remove that checkpoint; an earlier one is used"
    try:
        return _progression_of(read_checked(path, RunError, remedy))
    except TypeError as error:
        raise RunError(f"{path} does not say where the run stands ({error}): {remedy}") from None


def _progression_of(tree: dict[str, Any]) -> Progression:
    """Makes a progression of what `save` wrote; TypeError if it is none."""
    evaluations = tuple(Evaluation(*row) for row in tree.get("evaluations", ()))
    contenders = tuple(tree.get("contenders", ()))
    return Progression(**{**tree, "evaluations": evaluations, "contenders": contenders})


def best_step(workdir: Path) -> int:
    """The step of the checkpoint that was chosen by dev CIDEr, or the last if none was evaluated.

    Raises:
        RunError: the run has no checkpoint yet.
    """
    progression = latest(workdir)
    if progression is None:
        raise RunError(
            f"{workdir / CHECKPOINTS} holds no checkpoint yet: let imgcap-train finish an epoch"
        )
    return progression.best_step or progression.step


def restore(workdir: Path, step: int, variables: Variables) -> None:
    """Reads variables back from the checkpoint of a step.

    Args:
        workdir: the run directory.
        step: whose checkpoint.
        variables: what to read, by name; a part of what was saved may be asked for.

    Raises:
        RunError: the checkpoint is broken or does not fit.
    """
    read_variables(workdir / CHECKPOINTS / str(step) / WEIGHTS, variables)


def write_variables(prefix: Path, variables: Variables) -> None:
    """Writes variables in TensorFlow's checkpoint format, which stores no Python objects.

    Args:
        prefix: path of the files, without their endings.
        variables: what to write; each is stored under its part and its place in it.

    Raises:
        OSError: the disk is full or fails.
    """
    checkpoint = tf.train.Checkpoint(**{name: list(values) for name, values in variables.items()})
    with literal_folder(prefix.parent) as folder, told_of(prefix):
        checkpoint.write(str(folder / prefix.name))


def read_variables(prefix: Path, variables: Variables) -> None:
    """Reads what `write_variables` wrote.

    Args:
        prefix: path of the files, without their endings.
        variables: what to read, changed in place; a part of what was written may be asked for. What
            is stored in float16, as in a packed run, is converted.

    Raises:
        RunError: a file is missing or damaged, or a variable has another shape or was not saved.
    """
    try:
        with literal_folder(prefix.parent) as folder:
            _read_literal(str(folder / prefix.name), variables)
    except (tf.errors.OpError, AssertionError, ValueError, IndexError) as error:
        raise RunError(
            f"{prefix} can't be read into this model ({str(error).splitlines()[0][:160]}): remove "
            "this checkpoint to go on from an earlier one, or train into a new --workdir"
        ) from None


def _read_literal(prefix: str, variables: Variables) -> None:
    """Reads variables from files whose path TensorFlow takes as it stands."""
    stored = tf.train.load_checkpoint(prefix).get_variable_to_dtype_map()
    halves: list[tuple[tf.Variable, tf.Variable]] = []
    read = {
        name: [
            _as_stored(variable, stored.get(f"{name}/{place}{_VALUE}"), halves)
            for place, variable in enumerate(values)
        ]
        for name, values in variables.items()
    }
    checkpoint = tf.train.Checkpoint(**read)
    # assert_existing_objects_matched: a variable that silently kept its random start would be found
    # too late.
    checkpoint.read(prefix).assert_existing_objects_matched().expect_partial()
    for half, variable in halves:
        variable.assign(tf.cast(half, variable.dtype))


def _as_stored(
    variable: tf.Variable, dtype: tf.DType | None, halves: list[tuple[tf.Variable, tf.Variable]]
) -> tf.Variable:
    """The variable itself, or one in float16 that stands in for it while a checkpoint is read.

    Args:
        variable: to be read.
        dtype: in which it is stored; None if it is not.
        halves: gets the pair of both if one stands in.
    """
    if dtype != tf.float16 or variable.dtype == tf.float16:
        return variable
    half = tf.Variable(tf.zeros(variable.shape, tf.float16), trainable=False)
    halves.append((half, variable))
    return half


def to_float16(variables: Iterable[tf.Variable]) -> list[tf.Variable]:
    """Copies variables, matrices and kernels of them in float16.

    Vectors stay as they are: they are few, and a variance or a scale may leave float16's range.

    Args:
        variables: of any shapes and dtypes.

    Returns:
        New variables in the same order.
    """
    return [
        tf.Variable(
            tf.cast(variable, tf.float16) if fits_float16(variable.numpy()) else variable,
            trainable=False,
        )
        for variable in variables
    ]


def fits_float16(values: np.ndarray) -> bool:
    """Whether an array is a float32 matrix or kernel whose values are all in float16's range."""
    if values.dtype != np.float32 or values.ndim < 2:
        return False
    return bool(np.all(np.abs(values) <= np.finfo(np.float16).max))


def save_encoder(workdir: Path, variables: Sequence[tf.Variable]) -> None:
    """Writes a frozen encoder's weights once, so that checkpoints need not repeat them.

    Args:
        workdir: the run directory.
        variables: of the encoder; nothing is written if the run has them already.
    """
    final = workdir / ENCODER_WEIGHTS
    if final.exists():
        return
    with unfinished_folder(final) as unfinished:
        write_variables(unfinished / WEIGHTS, {"encoder": variables})
        finish_folder(unfinished, final)


def restore_encoder(workdir: Path, variables: Sequence[tf.Variable]) -> None:
    """Reads what `save_encoder` wrote.

    Args:
        workdir: the run directory.
        variables: of the encoder, changed in place.

    Raises:
        RunError: it is missing, damaged or of another encoder.
    """
    read_variables(workdir / ENCODER_WEIGHTS / WEIGHTS, {"encoder": variables})
