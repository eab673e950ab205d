"""`run.json`: format, data, vocabulary and settings of a run, which no resumption changes.

A run that imgcap-pack wrote has `packed` there too: how its weights are stored, and what its data
was. One that imgcap-ensemble wrote has `packed` and `ensemble`: the runs that it was made of.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgcap.config import MOVABLE, Config, ModelConfig
from imgcap.config.prepare import WORD
from imgcap.data.manifest import VOCABULARY_NAME, Manifest
from imgcap.data.text.vocabulary import Vocabulary
from imgcap.errors import DataError, RunError
from imgcap.files.checked import digest_bytes, read_checked, write_checked
from imgcap.files.locations import join
from imgcap.run.config_file import CONFIG_NAME, NAME_A_RUN, load_config

RUN, PACKED, CONFIG, TOKENIZER = "run.json", "packed", "config", "tokenizer"
ENSEMBLE = "ensemble"
FORMAT = 2
"""Number of the format of run directories; raised when older ones cannot be read any more.

2: the LSTM's variables have other names than in runs without a number.
"""


def read_identity(workdir: Path, remedy: str = NAME_A_RUN) -> dict[str, Any]:
    """Reads the identity of a run, and checks that its settings are still those it began with.

    Args:
        workdir: the run directory.
        remedy: what the user should do if it is none.

    Returns:
        What `write_identity` wrote.

    Raises:
        RunError: `workdir` is no run directory, or run.json or config.json was changed.
    """
    path = workdir / RUN
    identity = read_checked(path, RunError, remedy)
    if {"data", "vocabulary"} - identity.keys():
        raise RunError(f"{path} does not say of which data and vocabulary the run is: {remedy}")
    # Runs of earlier versions do not say it.
    expected = identity.get(CONFIG)
    if expected is not None and expected != _digest_config(workdir):
        raise RunError(
            f"{workdir / CONFIG_NAME} was changed or is damaged: bring the old file back or train "
            "anew"
        )
    return identity


def write_identity(workdir: Path, identity: dict[str, Any]) -> None:
    """Writes the identity of a run, as the last of its files: a folder that has one is a run.

    Args:
        workdir: the run directory; has its config.json.
        identity: `format`, `imgcap_version`, `data` and `vocabulary`, which are fingerprints, and
            `tokenizer`; the fingerprint of the settings is added.
    """
    write_checked(workdir / RUN, {**identity, CONFIG: _digest_config(workdir)})


def tokenizer_of(identity: dict[str, Any]) -> str:
    """The tokenizer of a run's captions; runs of earlier versions do not say it."""
    return identity.get(TOKENIZER, WORD)


def _digest_config(workdir: Path) -> str:
    path = workdir / CONFIG_NAME
    try:
        return digest_bytes(path.read_bytes())
    except FileNotFoundError:
        raise RunError(f"{path} is missing: {NAME_A_RUN}") from None
    except OSError as error:
        raise RunError(f"{path} can't be read ({error.strerror}): {NAME_A_RUN}") from None


def is_packed(workdir: Path) -> bool:
    """Whether imgcap-pack wrote a run: its moving average is in its weights, all of them once."""
    return PACKED in read_checked(workdir / RUN, RunError, NAME_A_RUN)


@dataclass(frozen=True)
class Member:
    """One of the runs that an ensemble was made of.

    Attributes:
        run: its name, without the folders in which it lay.
        step: of its checkpoint.
        seed: of its training.
        weight: its part of the mean; those of all members sum to 1.
        model: its settings of the model.
    """

    run: str
    step: int
    seed: int
    weight: float
    model: ModelConfig


@dataclass(frozen=True)
class Members:
    """What an ensemble was made of.

    Attributes:
        mean_of: what is averaged at each step, 'log' (log-probabilities) or 'probability'.
        members: the runs, in the order in which their weights are stored.
    """

    mean_of: str
    members: Sequence[Member]

    @property
    def decoders(self) -> str:
        """How many decoders there are and which, such as `3 × attention`."""
        kinds = [member.model.decoder for member in self.members]
        return " + ".join(f"{kinds.count(kind)} × {kind}" for kind in dict.fromkeys(kinds))

    def describe(self) -> str:
        """Says in a sentence which runs write each word together, and how."""
        runs = ", ".join(
            f"{member.run} (seed {member.seed}, step {member.step}, weight {member.weight:.2f})"
            for member in self.members
        )
        mean = "log-probabilities" if self.mean_of == "log" else "probabilities"
        return f"{self.decoders} that choose each word by the mean of their {mean}: {runs}"


def read_members(workdir: Path) -> Members | None:
    """Reads what an ensemble was made of.

    Args:
        workdir: a run directory.

    Returns:
        The members; None if the run is no ensemble.

    Raises:
        RunError: `workdir` is no run directory, or was written by another version.
    """
    tree = read_checked(workdir / RUN, RunError, NAME_A_RUN).get(ENSEMBLE)
    if tree is None:
        return None
    try:
        return members_from_tree(tree)
    except (TypeError, KeyError) as error:
        raise RunError(
            f"{workdir / RUN} is not an ensemble of this version of imgcap ({error}): make it again"
        ) from None


def members_from_tree(tree: dict[str, Any]) -> Members:
    """Reads `Members` from a tree as `dataclasses.asdict` and JSON make it.

    Raises:
        TypeError: a setting is unknown.
        KeyError: one is missing.
    """
    members = [
        Member(**{**member, "model": ModelConfig(**member["model"])}) for member in tree["members"]
    ]
    return Members(tree["mean_of"], members)


def refuse_ensemble(workdir: Path, remedy: str) -> None:
    """Raises RunError if a run is an ensemble.

    Args:
        workdir: a run directory.
        remedy: what the user should do then.
    """
    found = read_members(workdir)
    if found is not None:
        names = ", ".join(member.run for member in found.members)
        raise RunError(f"{workdir} is an ensemble of {names}: {remedy}")


def refuse_other_format(workdir: Path, remedy: str) -> None:
    """Raises RunError if a run directory is of another format than this version's.

    Args:
        workdir: the run directory; one without run.json passes.
        remedy: what the user should do if run.json is broken.
    """
    path = workdir / RUN
    if not path.is_file():
        return
    found = read_checked(path, RunError, remedy)
    number = found.get("format", 1)
    if number != FORMAT:
        raise RunError(
            f"{path} has format {number}, this version of imgcap reads format {FORMAT}: train "
            "again into a new --workdir, or use the version that wrote it"
        )


def refuse_other_run(workdir: Path, config: Config, identity: dict[str, Any]) -> None:
    """Raises RunError unless a run is of this format, config, data, tokenizer and vocabulary.

    Args:
        workdir: the run directory.
        config: the settings of this call.
        identity: fingerprints and tokenizer of this call's data.
    """
    new_workdir = "give a new --workdir"
    refuse_other_format(workdir, new_workdir)
    found = read_identity(workdir, new_workdir)
    refuse_ensemble(workdir, "train into a new --workdir")
    if PACKED in found:
        raise RunError(
            f"{workdir} is a packed run, without the optimizer's state: train into a new --workdir "
            f"with --finetune_from={workdir}"
        )
    if tokenizer_of(found) != tokenizer_of(identity):
        raise RunError(
            f"{workdir / RUN}: the run's tokenizer is {tokenizer_of(found)}, --data_dir was "
            f"prepared by {tokenizer_of(identity)}: give the --data_dir of that run, or a new "
            "--workdir"
        )
    for key, remedy in (
        ("vocabulary", "prepare the data as before"),
        ("data", "give the --data_dir of that run"),
    ):
        if found.get(key) != identity[key]:
            raise RunError(
                f"{workdir / RUN}: the run's {key} has fingerprint {found.get(key)}, --data_dir "
                f"has {identity[key]}: {remedy}, or give a new --workdir"
            )
    before, now = _flat(load_config(workdir)), _flat(config)
    changed = [
        f"--{name}={before[name]} (now {now[name]})" for name in now if before[name] != now[name]
    ]
    if changed:
        path = workdir / CONFIG_NAME
        raise RunError(
            f"{path} was trained with {', '.join(changed)}: give these, or a new --workdir"
        )


def _flat(config: Config) -> dict[str, Any]:
    """All settings that a resumed run must share, by name."""
    sections = dataclasses.asdict(config).values()
    return {
        name: value
        for section in sections
        for name, value in section.items()
        if name not in MOVABLE
    }


def refuse_other_vocabulary(
    vocabulary: Vocabulary, data_dir: Path | str, manifest: Manifest
) -> None:
    """Raises DataError if data was prepared with another tokenizer or vocabulary than a run's.

    Args:
        vocabulary: of the run.
        data_dir: what `imgcap-prepare` wrote.
        manifest: of `data_dir`.
    """
    if manifest.tokenizer != vocabulary.tokenizer:
        raise DataError(
            f"{data_dir} was prepared by --tokenizer={manifest.tokenizer}, the run's captions are "
            f"split by {vocabulary.tokenizer}: give the --data_dir the run was trained on"
        )
    if manifest.vocabulary_fingerprint != vocabulary.fingerprint:
        raise DataError(
            f"{join(str(data_dir), VOCABULARY_NAME)} has fingerprint "
            f"{manifest.vocabulary_fingerprint}, the run's vocabulary {vocabulary.fingerprint}: "
            "give the --data_dir the run was trained on"
        )
