"""`config.json`: the settings that a run directory keeps."""

from pathlib import Path

from imgcap.config import Config, config_from_json
from imgcap.errors import RunError

CONFIG_NAME = "config.json"

NAME_A_RUN = "give --workdir a directory that imgcap-train wrote"
"""The remedy if a directory is no run directory."""


def load_config(workdir: Path, remedy: str = NAME_A_RUN) -> Config:
    """Reads the settings of a run.

    Args:
        workdir: the run directory.
        remedy: what the user should do if it is none.

    Returns:
        The settings, as they were when the run began.

    Raises:
        RunError: `workdir` is no run directory.
        ConfigError: it is one of another version of imgcap.
    """
    path = workdir / CONFIG_NAME
    if not path.is_file():
        raise RunError(f"{path} is missing: {remedy}")
    # Bytes that are no text make no JSON either, and that has its own error.
    return config_from_json(path.read_text(encoding="utf-8", errors="replace"), path)
