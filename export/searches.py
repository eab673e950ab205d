"""The searches that an export carries, and the confidence that was fitted to their captions."""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from imgcap.config import Config, DecodeConfig
from imgcap.errors import DataError
from imgcap.evaluation.confidence import fit_confidence
from imgcap.model.captioner import Captioner
from imgcap.run.checkpoints import best_step
from imgcap.run.confidence_file import FittedConfidence, load_confidence, save_confidence

SAMPLING = ("num_samples", "temperature", "top_p", "sampling_seed")
"""The decode options that shape `sample` even if `decode` does not sample."""

MBR = "mbr"


class Searches(NamedTuple):
    """The searches that the signatures carry.

    Attributes:
        decode: of `decode`, `decode_features` and the default.
        sample: of `sample`.
    """

    decode: DecodeConfig
    sample: DecodeConfig

    @property
    def greedy(self) -> DecodeConfig:
        """The search of `greedy`: the rules of `decode`, one caption wide."""
        return dataclasses.replace(self.decode, search="beam", beam_width=1)


def choose_searches(trained: DecodeConfig, overrides: Mapping[str, Any]) -> Searches:
    """Chooses the searches of the signatures.

    Args:
        trained: the search chosen for the run.
        overrides: settings that differ from it. Those of sampling may be given with any search, for
            `sample`; but `decode` has them if it draws captions to choose by, and then `sample`
            keeps the run's own.

    Returns:
        The searches.

    Raises:
        ConfigError: a setting is out of its range, or no signature reads it.
    """
    if overrides.get("search", trained.search) == MBR:
        decode = trained.override(overrides)
        own = {name: getattr(trained, name) for name in SAMPLING}
        return Searches(decode, dataclasses.replace(decode, search="sample", **own))
    drawn = {name: value for name, value in overrides.items() if name in SAMPLING}
    rest = {name: value for name, value in overrides.items() if name not in SAMPLING}
    decode = trained.override(rest)
    sample = dataclasses.replace(decode, search="sample", **drawn)
    return Searches(sample if decode.search == "sample" else decode, sample)


def find_confidence(
    workdir: Path, captioner: Captioner, config: Config, options: DecodeConfig, *, keep: bool
) -> FittedConfidence | None:
    """Finds the confidence of a run for a search, and fits it to the dev images if it is missing.

    Args:
        workdir: the run directory.
        captioner: of the run.
        config: of the run.
        options: the search of `decode`.
        keep: whether a new calibration to the run's own search is written to the run.

    Returns:
        The calibration; one of another search if the data is no longer there, with a note; None if
        there is none at all, with a note, too.
    """
    fitted, step = load_confidence(workdir), best_step(workdir)
    if fitted is not None and fitted.fits(step, options):
        return fitted
    try:
        if not config.train.data_dir:
            raise DataError("a packed run has no data: calibrate the run before it is packed")
        data_dir = config.train.data_dir
        found = fit_confidence(captioner, config.model.image_size, data_dir, options)
    except DataError as error:
        if fitted is not None and fitted.facts["step"] == step:
            _note(f"the confidence was fitted to another search ({error})")
            return fitted
        _note(f"the export says nothing of confidence ({error})")
        return None
    found.facts.update(step=step)
    if keep and options == config.decode:
        save_confidence(workdir, found)
    return found


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)
