"""The confidence of a run: its numbers in `confidence.npz`, their origin beside them."""

import io
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imgcap import files
from imgcap.config import DecodeConfig, decode_from_tree
from imgcap.errors import RunError
from imgcap.files.checked import digest_bytes, read_checked, write_checked
from imgcap.model.confidence import INPUTS, Calibration, FeatureSpread, Regression
from imgcap.run.checkpoints import best_step

CONFIDENCE, CONFIDENCE_NUMBERS = "confidence.json", "confidence.npz"
_NUMBERS = "numbers"
"""The key of the checksum of `confidence.npz` in the facts."""
_PATIENCE = 1.0
"""Seconds for which another process may be between the two files."""
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
        fitted: what to write; the facts are written last, with the checksum of the numbers.
    """
    arrays: dict[str, Any] = {
        f"{part}_{name}": np.asarray(value, np.float32)
        for part, values in fitted.calibration._asdict().items()
        for name, value in values._asdict().items()
    }
    content = io.BytesIO()
    np.savez(content, **arrays)
    files.write_bytes(workdir / CONFIDENCE_NUMBERS, content.getvalue())
    numbers = digest_bytes(content.getvalue())
    write_checked(workdir / CONFIDENCE, {**fitted.facts, _NUMBERS: numbers})


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
    facts, content = _read_files(workdir)
    path = workdir / CONFIDENCE_NUMBERS
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            calibration = Calibration(
                _read_part(arrays, "spread", FeatureSpread),
                _read_part(arrays, "several", Regression),
                _read_part(arrays, "single", Regression),
            )
    # Of a damaged archive numpy and zipfile raise nearly everything.
    except Exception as error:
        raise RunError(f"{path} is damaged ({error}): {CALIBRATE_AGAIN}") from None
    if {"step", "decode"} - facts.keys() or calibration.several.weights.shape != (len(INPUTS),):
        raise RunError(f"{workdir / CONFIDENCE} holds no calibration: {CALIBRATE_AGAIN}")
    return FittedConfidence(calibration, facts)


def _read_files(workdir: Path) -> tuple[dict[str, Any], bytes]:
    """Reads facts and numbers that belong together; raises RunError if they do not."""
    path, deadline = workdir / CONFIDENCE_NUMBERS, time.monotonic() + _PATIENCE
    while True:
        facts = read_checked(workdir / CONFIDENCE, RunError, CALIBRATE_AGAIN)
        expected = facts.pop(_NUMBERS, None)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise RunError(f"{path} can't be read ({error.strerror}): {CALIBRATE_AGAIN}") from None
        # Calibrations of earlier versions have no checksum.
        if expected is None or expected == digest_bytes(content):
            return facts, content
        if time.monotonic() > deadline:
            raise RunError(f"{path} is damaged, or of another {CONFIDENCE}: {CALIBRATE_AGAIN}")
        time.sleep(0.05)


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
