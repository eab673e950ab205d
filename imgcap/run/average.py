"""One captioner out of several: the mean of their weights (Izmailov et al. 2018; Wortsman et al.
2022), which costs nothing more to serve. It pays among checkpoints of one run, or runs that were
tuned from one start; weights of runs that began apart have nothing to do with each other.
"""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from imgcap import files
from imgcap.config import CONFIG_NAME, Config, to_json
from imgcap.errors import RunError
from imgcap.model.captioner import Captioner
from imgcap.run import directory
from imgcap.run.checkpoints import (
    UNFINISHED,
    Progression,
    best_step,
    save,
    save_encoder,
    steps,
)
from imgcap.run.restore import load_captioner, restore_step

BEST = "best"
# The remedy where a run directory is none.
_NAME_RUNS = "name run directories of imgcap-train"


def average(runs: Sequence[Path], workdir: Path, checkpoints: str) -> int:
    """Writes a run directory whose weights are the mean of others'.

    Args:
        runs: run directories of one model and vocabulary.
        workdir: the new run directory.
        checkpoints: 'best' takes each run's best one, 'kept' all that it has.

    Returns:
        How many checkpoints went into it.

    Raises:
        RunError: `workdir` exists, a run has no checkpoint, or the runs do not fit together.
    """
    if workdir.exists():
        raise RunError(f"{workdir} exists: give a new --workdir")
    _refuse_strangers(runs)
    captioner, config = load_captioner(runs[0])
    sums, count = [np.zeros(variable.shape, np.float64) for variable in _variables(captioner)], 0
    for run in runs:
        for step in [best_step(run)] if checkpoints == BEST else steps(run):
            restore_step(run, captioner, step)
            for total, variable in zip(sums, _variables(captioner), strict=True):
                total += variable.numpy()
            count += 1
    for total, variable in zip(sums, _variables(captioner), strict=True):
        variable.assign(total / count)
    _write(runs[0], workdir, captioner, config)
    return count


def _variables(captioner: Captioner) -> list[tf.Variable]:
    return [
        variable.value for variable in (*captioner.decoder.variables, *captioner.encoder.variables)
    ]


def _refuse_strangers(runs: Sequence[Path]) -> None:
    first, vocabulary = directory.load_run(runs[0], _NAME_RUNS)
    for run in runs[1:]:
        config, words = directory.load_run(run, _NAME_RUNS)
        if words.fingerprint != vocabulary.fingerprint:
            raise RunError(
                f"{run} has vocabulary {words.fingerprint}, {runs[0]} has "
                f"{vocabulary.fingerprint}: average runs on one data set"
            )
        here, there = (dataclasses.asdict(one.model) for one in (config, first))
        # Each run has its own copy of the encoder's file, and dropout is of training alone.
        ignored = {
            "encoder",
            "encoder_weights",
            "dropout",
            "variational_dropout",
            "recurrent_dropout",
        }
        changed = [
            f"--{name}={value} (not {there[name]})"
            for name, value in here.items()
            if value != there[name] and name not in ignored
        ]
        if changed:
            raise RunError(
                f"{run} is another model than {runs[0]}, with {', '.join(changed)}: average runs "
                "of one model"
            )


def _write(source: Path, workdir: Path, captioner: Captioner, config: Config) -> None:
    """Beside its name, then renamed: a run directory that is there is whole."""
    unfinished = workdir.with_name(f".{workdir.name}{UNFINISHED}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for name in (directory.RUN, directory.VOCABULARY, directory.ENCODER_FILE, directory.DECODE):
        if (source / name).exists():
            files.write_bytes(unfinished / name, (source / name).read_bytes())
    # A moving average of its own would be looked for among the weights, and is in them already.
    train = dataclasses.replace(config.train, workdir=str(workdir), ema_momentum=0.0)
    files.write_text(unfinished / CONFIG_NAME, to_json(dataclasses.replace(config, train=train)))
    saved = {"decoder": [variable.value for variable in captioner.decoder.variables]}
    encoder = [variable.value for variable in captioner.encoder.variables]
    if config.train.finetune_blocks:
        saved["encoder"] = encoder
    else:
        save_encoder(unfinished, encoder)
    save(unfinished, saved, Progression(step=best_step(source)), keep=1)
    unfinished.rename(workdir)
