"""The run directory: config, vocabulary, encoder, checkpoints, metrics. Nothing in it is ever half-written.

    RUN/config.json          the settings; a run is resumed only with the same
    RUN/run.json             fingerprints of the data and the vocabulary, and the version of imgcap
    RUN/vocab.txt            the vocabulary, as in the data directory
    RUN/decode.json          decode options that a sweep chose in place of the config's, if any
    RUN/encoder.keras        the encoder's file, where it came from one
    RUN/encoder/             weights of a frozen encoder, written once
    RUN/checkpoints/<step>/  weights, optimizer and state.json; written beside and renamed
    RUN/metrics.jsonl        one object a logged step
"""

import dataclasses
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

import imgcap
from imgcap import config as configs
from imgcap import files
from imgcap.config import Config, DecodeConfig
from imgcap.errors import ConfigError, RunError
from imgcap.manifest import Manifest
from imgcap.vocabulary import Vocabulary

RUN, VOCABULARY, DECODE = "run.json", "vocab.txt", "decode.json"
ENCODER_FILE, ENCODER_WEIGHTS = "encoder.keras", "encoder"
CHECKPOINTS, METRICS, STATE, WEIGHTS = "checkpoints", "metrics.jsonl", "state.json", "weights"
UNFINISHED = ".unfinished"


@dataclass(frozen=True)
class Progression:
    """Where a run stands; the whole of what a checkpoint holds beside weights.

    Attributes:
        step: optimizer steps taken.
        epoch: epochs finished.
        batch: global batches of the current epoch that were trained.
        best_cider: best dev CIDEr x 100 so far; -1 before the first evaluation.
        best_step: the step that reached it.
        epochs_since_best: evaluations since then.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    best_cider: float = -1.0
    best_step: int = 0
    epochs_since_best: int = 0


Variables = Mapping[str, Sequence[tf.Variable]]


@contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Holds the run directory for this process alone.

    Args:
        workdir: the run directory; made if absent.

    Raises:
        RunError: another process holds it.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / ".lock").open("w") as file:
        try:
            # The kernel lets go when the process ends, however it ends: no stale lock is ever left.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunError(f"{workdir} is in use by another process: wait for it, or give a new --workdir") from None
        yield


def is_run(workdir: Path) -> bool:
    """Whether the folder is a run directory."""
    return (workdir / RUN).is_file()


def open_run(workdir: Path, config: Config, manifest: Manifest, vocabulary: Vocabulary) -> Config:
    """Makes a run directory, or checks that the one found is of this config, data and vocabulary.

    Args:
        workdir: the run directory.
        config: the settings of this call.
        manifest: of the data.
        vocabulary: of the data.

    Returns:
        The config to train with; its encoder file, if any, is the run's own copy.

    Raises:
        RunError: the directory belongs to a run of another config, data set or vocabulary.
    """
    identity = {
        "imgcap_version": imgcap.__version__,
        "data": manifest.fingerprint,
        "vocabulary": vocabulary.fingerprint,
    }
    if is_run(workdir):
        _refuse_other_run(workdir, config, identity)
    else:
        if config.model.encoder.endswith(".keras"):
            files.write_bytes(workdir / ENCODER_FILE, Path(config.model.encoder).read_bytes())
        vocabulary.save(workdir / VOCABULARY)
        files.write_text(workdir / configs.CONFIG_NAME, configs.to_json(config))
        files.write_json(workdir / RUN, identity)
    return _with_own_encoder(workdir, config)


def _refuse_other_run(workdir: Path, config: Config, identity: dict[str, str]) -> None:
    found = files.read_json(workdir / RUN, RunError, "give a new --workdir")
    for key, remedy in (("vocabulary", "prepare the data as before"), ("data", "give the --data_dir of that run")):
        if found.get(key) != identity[key]:
            raise RunError(
                f"{workdir / RUN}: the run's {key} has fingerprint {found.get(key)}, --data_dir has {identity[key]}: "
                f"{remedy}, or give a new --workdir"
            )
    before, now = _flat(configs.load_config(workdir)), _flat(config)
    changed = [f"--{name}={before[name]} (now {now[name]})" for name in now if before[name] != now[name]]
    if changed:
        path = workdir / configs.CONFIG_NAME
        raise RunError(f"{path} was trained with {', '.join(changed)}: give these, or a new --workdir")


def _flat(config: Config) -> dict[str, Any]:
    sections = dataclasses.asdict(config).values()
    return {name: value for section in sections for name, value in section.items() if name not in configs.MOVABLE}


def _with_own_encoder(workdir: Path, config: Config) -> Config:
    if not (workdir / ENCODER_FILE).exists():
        return config
    return dataclasses.replace(config, model=dataclasses.replace(config.model, encoder=str(workdir / ENCODER_FILE)))


def load_run(workdir: Path, remedy: str = configs.NAME_A_RUN) -> tuple[Config, Vocabulary]:
    """Reads what a run was made of, for evaluation and export.

    Args:
        workdir: the run directory.
        remedy: what the user should do if it is none.

    Returns:
        Its config, the encoder file (if any) being the run's own copy, and its vocabulary.

    Raises:
        RunError: `workdir` is no run directory, or its vocabulary was changed.
    """
    config = configs.load_config(workdir, remedy)
    vocabulary = Vocabulary.load(workdir / VOCABULARY)
    identity = files.read_json(workdir / RUN, RunError, remedy)
    if vocabulary.fingerprint != identity["vocabulary"]:
        raise RunError(
            f"{workdir / VOCABULARY} has fingerprint {vocabulary.fingerprint}, the run was trained with "
            f"{identity['vocabulary']}: bring the old file back or train anew"
        )
    return _with_chosen_decode(workdir, _with_own_encoder(workdir, config)), vocabulary


def save_decode(workdir: Path, options: DecodeConfig) -> None:
    """Keeps the decode options that evaluation and export shall use for this run in place of the trained ones.

    Args:
        workdir: the run directory.
        options: the search.
    """
    files.write_json(workdir / DECODE, dataclasses.asdict(options))


def _with_chosen_decode(workdir: Path, config: Config) -> Config:
    if not (workdir / DECODE).exists():
        return config
    remedy = "remove it, or run imgcap-evaluate --sweep again"
    tree = files.read_json(workdir / DECODE, RunError, remedy)
    try:
        options = DecodeConfig(**{**tree, "suppress": tuple(tree["suppress"])})
    except (TypeError, KeyError, ConfigError) as error:
        raise RunError(f"{workdir / DECODE} holds no decode options ({error}): {remedy}") from None
    return dataclasses.replace(config, decode=options)


def save(workdir: Path, variables: Variables, progression: Progression, keep: int) -> None:
    """Writes one checkpoint, then removes those that are neither the best nor among the last ones.

    Args:
        workdir: the run directory.
        variables: what to save, by name.
        progression: where the run stands.
        keep: checkpoints to keep beside the best.

    Raises:
        RunError: the disk is full or the folder can't be written; earlier checkpoints stay.
    """
    final = workdir / CHECKPOINTS / str(progression.step)
    unfinished = final.with_name(f"{final.name}{UNFINISHED}")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        write_variables(unfinished / WEIGHTS, variables)
        files.write_json(unfinished / STATE, dataclasses.asdict(progression))
        shutil.rmtree(final, ignore_errors=True)
        unfinished.replace(final)
    except (OSError, tf.errors.OpError) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise RunError(
            f"{final} can't be written ({str(error).splitlines()[0][:160]}): free the disk and run the same command "
            "again; the last checkpoint is intact"
        ) from None
    _prune(workdir, progression.best_step, keep)


def _prune(workdir: Path, best_step: int, keep: int) -> None:
    folder = workdir / CHECKPOINTS
    for step in steps(workdir)[:-keep]:
        if step != best_step:
            shutil.rmtree(folder / str(step))
    for leftover in folder.glob(f"*{UNFINISHED}"):
        shutil.rmtree(leftover)


def steps(workdir: Path) -> list[int]:
    """The steps whose checkpoints a run has, in order."""
    folder = workdir / CHECKPOINTS
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit()) if folder.is_dir() else []


def latest(workdir: Path) -> Progression | None:
    """Where the run stands by its last checkpoint; None before the first.

    Raises:
        RunError: its state can't be read.
    """
    found = steps(workdir)
    if not found:
        return None
    path = workdir / CHECKPOINTS / str(found[-1]) / STATE
    return Progression(**files.read_json(path, RunError, "remove that checkpoint; an earlier one is used"))


def best_step(workdir: Path) -> int:
    """The step whose checkpoint had the best dev CIDEr, or the last one if none was evaluated.

    Raises:
        RunError: the run has no checkpoint yet.
    """
    progression = latest(workdir)
    if progression is None:
        raise RunError(f"{workdir / CHECKPOINTS} holds no checkpoint yet: let imgcap-train finish an epoch")
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
    """Writes variables in TensorFlow's checkpoint format, each under its name and place: no Python object is stored."""
    tf.train.Checkpoint(**{name: list(values) for name, values in variables.items()}).write(str(prefix))


def read_variables(prefix: Path, variables: Variables) -> None:
    """Reads what `write_variables` wrote.

    Raises:
        RunError: a file is missing or damaged, or a variable has another shape or was not saved.
    """
    checkpoint = tf.train.Checkpoint(**{name: list(values) for name, values in variables.items()})
    try:
        # assert_existing_objects_matched: a variable that silently kept its random start would be found too late.
        checkpoint.read(str(prefix)).assert_existing_objects_matched().expect_partial()
    except (tf.errors.OpError, AssertionError, ValueError, IndexError) as error:
        raise RunError(
            f"{prefix} can't be read into this model ({str(error).splitlines()[0][:160]}): remove this checkpoint to "
            "go on from an earlier one, or train into a new --workdir"
        ) from None


def save_encoder(workdir: Path, variables: Sequence[tf.Variable]) -> None:
    """Writes a frozen encoder's weights once, so that checkpoints need not repeat them."""
    final = workdir / ENCODER_WEIGHTS
    if final.exists():
        return
    unfinished = final.with_name(f"{final.name}{UNFINISHED}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    write_variables(unfinished / WEIGHTS, {"encoder": variables})
    unfinished.replace(final)


def restore_encoder(workdir: Path, variables: Sequence[tf.Variable]) -> None:
    """Reads what `save_encoder` wrote.

    Raises:
        RunError: it is missing, damaged or of another encoder.
    """
    read_variables(workdir / ENCODER_WEIGHTS / WEIGHTS, {"encoder": variables})


class Metrics:
    """`metrics.jsonl`: one object a logged step, flushed at once."""

    def __init__(self, workdir: Path | None, step: int) -> None:
        """Opens the file and drops lines behind `step`: a resumed run writes them again.

        Args:
            workdir: the run directory; None where another process writes them.
            step: where the run goes on.
        """
        self._path = workdir / METRICS if workdir else None
        if self._path and self._path.exists():
            lines = self._path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if _step_of(line) <= step]
            files.write_text(self._path, "".join(f"{line}\n" for line in kept))

    def write(self, **values: float | int | str) -> None:
        """Appends one line."""
        if not self._path:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        # A line cut off by a kill: drop it.
        return float("inf")
