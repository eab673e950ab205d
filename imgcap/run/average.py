"""Averaging the weights of several checkpoints (Izmailov et al. 2018; Wortsman et al. 2022).

The mean costs no more to serve than one of them. It helps among checkpoints of one run, or among
runs that were tuned from one start; weights of runs that began from different seeds have nothing in
common.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from imgcap import files
from imgcap.config import Config, to_json
from imgcap.data.manifest import VOCABULARY_NAME
from imgcap.errors import RunError
from imgcap.model.captioner import Captioner
from imgcap.run.checkpoints import (
    Progression,
    best_step,
    save,
    save_encoder,
    steps,
    tf_variables,
)
from imgcap.run.config_file import CONFIG_NAME
from imgcap.run.directory import DECODE, ENCODER_FILE, FREQUENCIES, load_run, new_run
from imgcap.run.identity import PACKED, read_identity, refuse_ensemble, write_identity
from imgcap.run.restore import load_captioner, restore_step

BEST = "best"
_NAME_RUNS = "name run directories of imgcap-train"
"""The remedy if a directory is no run directory."""


def average(runs: Sequence[Path], workdir: Path, checkpoints: str) -> int:
    """Writes a run directory whose weights are the mean of the weights of others.

    Args:
        runs: run directories of one model and vocabulary.
        workdir: the new run directory.
        checkpoints: 'best' takes the best one of each run, 'kept' all that it has.

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
    with new_run(workdir) as unfinished:
        _fill(unfinished, runs[0], workdir, captioner, config)
    return count


def _variables(captioner: Captioner) -> list[tf.Variable]:
    """All variables of a captioner, those of the decoder first."""
    return tf_variables([*captioner.decoder.variables, *captioner.encoder.variables])


def _refuse_strangers(runs: Sequence[Path]) -> None:
    """Raises RunError if the runs have not all the model and the vocabulary of the first."""
    first, vocabulary = load_run(runs[0], _NAME_RUNS)
    for run in runs:
        config, words = load_run(run, _NAME_RUNS)
        refuse_ensemble(run, "average its members, or make an ensemble of averages")
        if words.tokenizer != vocabulary.tokenizer:
            raise RunError(
                f"{run} has captions split by {words.tokenizer}, {runs[0]} by "
                f"{vocabulary.tokenizer}: average runs on one data set"
            )
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


def _fill(
    unfinished: Path, source: Path, workdir: Path, captioner: Captioner, config: Config
) -> None:
    """Writes the files of a run directory.

    Args:
        unfinished: the folder to fill.
        source: the run that gives vocabulary, encoder file and decode options.
        workdir: the run directory as it will be called.
        captioner: with the averaged weights.
        config: of `source`.
    """
    for name in (VOCABULARY_NAME, ENCODER_FILE, DECODE, FREQUENCIES):
        if (source / name).exists():
            files.write_bytes(unfinished / name, (source / name).read_bytes())
    identity = read_identity(source, _NAME_RUNS)
    identity.pop(PACKED, None)
    # A moving average is in these weights already; a reader must not look for another one.
    train = dataclasses.replace(config.train, workdir=str(workdir), ema_momentum=0.0)
    files.write_text(unfinished / CONFIG_NAME, to_json(dataclasses.replace(config, train=train)))
    write_identity(unfinished, identity)
    saved = {"decoder": tf_variables(captioner.decoder.variables)}
    encoder = tf_variables(captioner.encoder.variables)
    if config.train.finetune_blocks:
        saved["encoder"] = encoder
    else:
        save_encoder(unfinished, encoder)
    save(unfinished, saved, Progression(step=best_step(source)), keep=1)
