"""Making one run of several that share an encoder: their decoders choose each word together.

The new run directory holds all weights, the encoder's once, so the runs are not needed any more.
`imgcap.run.restore` reads it as a packed run whose decoder is an `Ensemble`.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras

from imgcap import files
from imgcap.config import Config, EnsembleConfig, to_json
from imgcap.data.manifest import VOCABULARY_NAME
from imgcap.errors import RunError
from imgcap.model.captioner import Captioner
from imgcap.model.decoders import DECODERS, Ensemble
from imgcap.model.encoder import Encoder
from imgcap.run.checkpoints import Progression, best_step, tf_variables, to_float16
from imgcap.run.config_file import CONFIG_NAME, load_config
from imgcap.run.directory import DECODE, ENCODER_FILE, FREQUENCIES, load_run, new_run
from imgcap.run.identity import (
    ENSEMBLE,
    PACKED,
    Member,
    Members,
    read_identity,
    refuse_ensemble,
    write_identity,
)
from imgcap.run.pack import known_data, packed_facts, without_model_places, write_weights
from imgcap.run.pretrained import is_pretrained, resolve_run
from imgcap.run.restore import load_captioner

_NAME_RUNS = "name run directories of imgcap-train"
"""The remedy if a directory is no run directory."""


class _Run(NamedTuple):
    """A run that becomes a member, without its weights.

    Attributes:
        name: as it was given.
        workdir: its directory.
        settings: as they stand in its `config.json`.
        identity: the content of its `run.json`.
        step: of its best checkpoint.
        facts: what it must share with the others, by what each is called.
    """

    name: str
    workdir: Path
    settings: Config
    identity: dict[str, Any]
    step: int
    facts: dict[str, Any]


def make_ensemble(names: Sequence[str], config: EnsembleConfig) -> Members:
    """Writes a run directory whose captioner is those of several runs, side by side.

    Encoder, vocabulary and search are those of the first run.

    Args:
        names: of the runs, directories or captioners of the package; of each the best checkpoint is
            taken.
        config: where the new run goes, and how the members are joined.

    Returns:
        What it was made of.

    Raises:
        RunError: the output exists, a run is none, has no checkpoint or is an ensemble, or two runs
            differ in encoder, vocabulary or data.
        ConfigError: there are not as many weights as runs.
    """
    weights = config.member_weights(len(names))
    workdir = Path(config.workdir)
    if workdir.exists():
        raise RunError(f"{workdir} exists: give a new --workdir")
    runs = [_read_run(name) for name in names]
    for run in runs[1:]:
        _refuse_unlike(runs[0].name, runs[0].facts, run.name, run.facts)
    members = [_describe_member(run, weight) for run, weight in zip(runs, weights, strict=True)]
    made_of = Members(config.ensemble, members)
    captioner = _join(runs, made_of)
    with new_run(workdir) as unfinished:
        _fill(unfinished, workdir, runs, captioner, made_of)
    return made_of


def _read_run(name: str) -> _Run:
    """Reads settings and identity of a run, whose weights are not loaded yet."""
    workdir = resolve_run(name)
    config, vocabulary = load_run(workdir, _NAME_RUNS)
    refuse_ensemble(workdir, "name its members instead")
    identity = read_identity(workdir, _NAME_RUNS)
    pooled = DECODERS[config.model.decoder].pooled
    facts = {
        "tokenizer": vocabulary.tokenizer,
        "vocabulary": vocabulary.fingerprint,
        "data": identity["data"],
        "image size": config.model.image_size,
        "features": "averaged over the image" if pooled else "of a grid",
    }
    return _Run(name, workdir, load_config(workdir), identity, best_step(workdir), facts)


def _describe_member(run: _Run, weight: float) -> Member:
    """What the ensemble keeps of a run beside its weights."""
    return Member(
        run=run.name if is_pretrained(run.name) else run.workdir.resolve().name,
        step=run.step,
        seed=run.settings.train.seed,
        weight=weight,
        model=without_model_places(run.settings.model),
    )


def _refuse_unlike(
    name: str, facts: Mapping[str, Any], other_name: str, other_facts: Mapping[str, Any]
) -> None:
    """Raises RunError if two runs differ in what the members of an ensemble share."""
    for what, value in facts.items():
        if other_facts[what] != value:
            raise RunError(
                f"{other_name} has {what} {other_facts[what]}, {name} has {value}: an ensemble "
                "needs runs with one encoder on one data set"
            )


def _join(runs: Sequence[_Run], made_of: Members) -> Captioner:
    """Loads all runs and puts their decoders side by side on the encoder of the first."""
    first = load_captioner(runs[0].workdir)[0]
    facts, decoders = _encoder_facts(first.encoder), [first.decoder]
    for run in runs[1:]:
        captioner = load_captioner(run.workdir)[0]
        _refuse_unlike(runs[0].name, facts, run.name, _encoder_facts(captioner.encoder))
        decoders.append(captioner.decoder)
    weights = [member.weight for member in made_of.members]
    return Captioner(first.encoder, Ensemble(decoders, weights, made_of.mean_of), first.vocabulary)


def _encoder_facts(encoder: Encoder) -> dict[str, Any]:
    """What decides the features of an encoder.

    The fingerprint is that of the weights in float16, in which a packed run may store them: its
    decoder was trained on the features of the weights before they were rounded.
    """
    # The layers of a .keras file compute in their own precision, but its inputs name the run's.
    computing = [
        layer for layer in encoder.network.layers if not isinstance(layer, keras.layers.InputLayer)
    ]
    digest = hashlib.sha256(f"{encoder.network.input_shape} {encoder.features_shape}".encode())
    for variable in to_float16(tf_variables(encoder.variables)):
        digest.update(f"{variable.shape}".encode())
        digest.update(variable.numpy().tobytes())
    return {
        "preprocessing": encoder.preprocess.__module__,
        "precision": ", ".join(sorted({layer.compute_dtype for layer in computing})),
        "encoder": digest.hexdigest()[:16],
    }


def _fill(
    unfinished: Path, workdir: Path, runs: Sequence[_Run], captioner: Captioner, made_of: Members
) -> None:
    """Writes the files of a run directory.

    Args:
        unfinished: the folder to fill.
        workdir: the run directory as it will be called.
        runs: the members.
        captioner: of all.
        made_of: what `run.json` says of them.
    """
    first = runs[0]
    for name in (VOCABULARY_NAME, DECODE, FREQUENCIES):
        if (first.workdir / name).exists():
            files.write_bytes(unfinished / name, (first.workdir / name).read_bytes())
    # A packed run does not know where its data lay.
    data_dirs = [run.settings.train.data_dir for run in runs]
    train = dataclasses.replace(
        first.settings.train,
        workdir=str(workdir),
        data_dir=next(filter(None, data_dirs), ""),
    )
    model = without_model_places(first.settings.model)
    settings = dataclasses.replace(first.settings, model=model, train=train)
    files.write_text(unfinished / CONFIG_NAME, to_json(settings))
    known = [known_data(run.identity, run.settings.train.data_dir) for run in runs]
    identity = {
        **first.identity,
        PACKED: packed_facts("float32", next(filter(None, known), {})),
        ENSEMBLE: dataclasses.asdict(made_of),
    }
    write_identity(unfinished, identity)
    as_file = (first.workdir / ENCODER_FILE).exists()
    progression = Progression(step=first.step)
    write_weights(unfinished, captioner, progression, as_file=as_file, half=False)
