"""The confidence of a run: its numbers in `confidence.npz`, their origin beside them."""

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imgcap import files
from imgcap.config import DecodeConfig, decode_from_tree
from imgcap.errors import RunError
from imgcap.model.confidence import INPUTS, Calibration, FeatureSpread, Regression
from imgcap.run.checkpoints import best_step

CONFIDENCE, CONFIDENCE_NUMBERS = "confidence.json", "confidence.npz"
CALIBRATE_AGAIN = "run imgcap-evaluate --calibrate again, or remove it"


class FittedConfidence(NamedTuple):
    """A calibration and its origin.

    Attributes:
        calibration: the numbers.
        facts: from `imgcap.evaluation.confidence`: checkpoint, decode options, images, figures.
    """

    calibration: Calibration
    facts: dict[str, Any]

    def fits(self, step: int, options: DecodeConfig) -> bool:
        """Whether it was fitted to the captions of a checkpoint and a search."""
        return self.facts["step"] == step and decode_from_tree(self.facts["decode"]) == options


def save_confidence(workdir: Path, fitted: FittedConfidence) -> None:
    """Writes a calibration to a run, in place of an earlier one.

    Args:
        workdir: the run directory.
        fitted: what to write; the facts are written last, and without them nothing is read.
    """
    (workdir / CONFIDENCE).unlink(missing_ok=True)
    arrays: dict[str, Any] = {
        f"{part}_{name}": np.asarray(value, np.float32)
        for part, values in fitted.calibration._asdict().items()
        for name, value in values._asdict().items()
    }
    content = io.BytesIO()
    np.savez(content, **arrays)
    files.write_bytes(workdir / CONFIDENCE_NUMBERS, content.getvalue())
    files.write_json(workdir / CONFIDENCE, fitted.facts)


def load_confidence(workdir: Path) -> FittedConfidence | None:
    """Reads the calibration of a run.

    Args:
        workdir: the run directory.

    Returns:
        The calibration with its origin; None if the run has none.

    Raises:
        RunError: it is damaged.
    """
    if not (workdir / CONFIDENCE).is_file():
        return None
    facts = files.read_json(workdir / CONFIDENCE, RunError, CALIBRATE_AGAIN)
    path = workdir / CONFIDENCE_NUMBERS
    try:
        with np.load(path, allow_pickle=False) as arrays:
            calibration = Calibration(
                _read_part(arrays, "spread", FeatureSpread),
                _read_part(arrays, "several", Regression),
                _read_part(arrays, "single", Regression),
            )
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{path} is damaged ({error}): {CALIBRATE_AGAIN}") from None
    if {"step", "decode"} - facts.keys() or calibration.several.weights.shape != (len(INPUTS),):
        raise RunError(f"{workdir / CONFIDENCE} holds no calibration: {CALIBRATE_AGAIN}")
    return FittedConfidence(calibration, facts)


def find_confidence(workdir: Path, options: DecodeConfig) -> FittedConfidence | None:
    """Reads the calibration of a run if it was fitted to its best checkpoint and to a search.

    Args:
        workdir: the run directory.
        options: the search.

    Returns:
        The calibration with its origin; None if there is none, or one of another checkpoint or
        search.

    Raises:
        RunError: it is damaged, or the run has no checkpoint.
    """
    fitted = load_confidence(workdir)
    return fitted if fitted and fitted.fits(best_step(workdir), options) else None


def _read_part(arrays: Any, part: str, make: Any) -> Any:
    """One of the named tuples of a calibration, from its arrays."""
    return make(**{name: arrays[f"{part}_{name}"] for name in make._fields})
