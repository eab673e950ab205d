"""Names of the files that evaluations leave in a run directory, so that none overwrites another.

A name says the split, and then the decode options that are not those the run was trained with:
`scores_test.json`, `scores_test_beam_width=5,length_penalty=1.2.json`. The options in `config.json`
never change, so a name means the same evaluation even after a sweep has chosen others.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgcap.config import DecodeConfig
from imgcap.errors import DataError
from imgcap.files.names import shell_flag
from imgcap.run.config_file import CONFIG_NAME, load_config
from imgcap.run.directory import load_decode

SCORES_PATTERN = "scores_*.json"
"""Matches the scores of all evaluations."""

_SCORES, _CAPTIONS, _CONTACT_SHEET = "scores_", "captions_", "contact_sheet_"
_CONFIDENCE = "confidence_"
_LONGEST_OPTIONS = 100
"""Most characters that options have in a name; some file systems allow no more than 143 in all."""


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a run: a split, captioned with one set of decode options.

    Attributes:
        workdir: the run directory.
        name: what its files have in their names: the split, and the options if they are others
            than those the run was trained with.
        flags: flags of imgcap-evaluate that repeat it, for error lines.
    """

    workdir: Path
    name: str
    flags: str = ""

    @property
    def split(self) -> str:
        """The split that was captioned."""
        return self.name.partition("_")[0]

    @property
    def scores(self) -> Path:
        """The file of the scores, one JSON tree."""
        return self.workdir / f"{_SCORES}{self.name}.json"

    @property
    def captions(self) -> Path:
        """The file of the captions, one JSON object an image and line."""
        return self.workdir / f"{_CAPTIONS}{self.name}.jsonl"

    @property
    def contact_sheet(self) -> Path:
        """The page that shows the images with their captions, HTML."""
        return self.workdir / f"{_CONTACT_SHEET}{self.name}.html"

    @property
    def confidence_picture(self) -> Path:
        """The picture of how right the confidences are, PNG."""
        return self.workdir / f"{_CONFIDENCE}{self.name}.png"

    @property
    def remedy(self) -> str:
        """The command that makes the evaluation, and those that the run has, for error lines."""
        run = shell_flag("workdir", self.workdir)
        command = f"run imgcap-evaluate {run} --split={self.split}{self.flags}"
        found = sorted(path.name for path in self.workdir.glob(f"{_CAPTIONS}*.jsonl"))
        return f"{command} (there: {', '.join(found)})" if found else command


def find_evaluation(workdir: Path, split: str, overrides: Mapping[str, Any]) -> Evaluation:
    """Names the evaluation that `imgcap-evaluate` makes of a run, whether it is there or not.

    Args:
        workdir: the run directory; without `config.json` it may hold results alone.
        split: that is captioned.
        overrides: decode options that differ from those chosen for the run.

    Returns:
        The evaluation.

    Raises:
        RunError: options are given, but the directory is no run directory.
        ConfigError: an option is out of its range, or the search does not read it.
    """
    flags = "".join(f" --{name}={value}" for name, value in overrides.items())
    if not overrides and not (workdir / CONFIG_NAME).is_file():
        return Evaluation(workdir, split)
    trained, chosen = load_config(workdir).decode, load_decode(workdir)
    return Evaluation(workdir, _make_name(split, chosen.override(overrides), trained), flags)


def evaluation_of_captions(path: Path) -> Evaluation:
    """Names the evaluation to which a file of captions belongs.

    Args:
        path: as `Evaluation.captions` gives it.

    Returns:
        The evaluation.

    Raises:
        DataError: the file has another name.
    """
    if not (path.name.startswith(_CAPTIONS) and path.suffix == ".jsonl"):
        raise DataError(
            f"{path} has not the name of a file of captions: give a run directory, or a file "
            f"{_CAPTIONS}*.jsonl that imgcap-evaluate wrote"
        )
    return Evaluation(path.parent, path.stem.removeprefix(_CAPTIONS))


def evaluation_name(scores: Path) -> str:
    """The name of an evaluation from the file of its scores, such as `test_beam_width=5`."""
    return scores.stem.removeprefix(_SCORES)


def _make_name(split: str, options: DecodeConfig, trained: DecodeConfig) -> str:
    """The name of an evaluation: the split, and the options that differ from those in training."""
    changes = options.changes_from(trained)
    if not changes:
        return split
    text = ",".join(f"{name}={_format_value(value)}" for name, value in changes.items())
    if len(text) > _LONGEST_OPTIONS:
        text = f"options-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    return f"{split}_{text}"


def _format_value(value: Any) -> str:
    """The value of an option, of letters, digits, dots and signs alone."""
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)
