"""Names of the files that an evaluation leaves in the run directory, one of each for a split."""

from pathlib import Path

SCORES_PATTERN = "scores_*.json"
"""Matches the scores of all splits."""


def scores_path(workdir: Path, split: str) -> Path:
    """The file of a split's scores, one JSON tree."""
    return workdir / f"scores_{split}.json"


def captions_path(workdir: Path, split: str) -> Path:
    """The file of a split's captions, one JSON object an image and line."""
    return workdir / f"captions_{split}.jsonl"


def contact_sheet_path(workdir: Path, split: str) -> Path:
    """The page that shows a split's images with their captions, HTML."""
    return workdir / f"contact_sheet_{split}.html"
