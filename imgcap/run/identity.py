"""What a run directory was made from: a run goes on with the same data, vocabulary and settings
alone.
"""

import dataclasses
from pathlib import Path
from typing import Any

from imgcap import config as configs
from imgcap import files
from imgcap.config import Config
from imgcap.errors import RunError

RUN = "run.json"


def refuse_other_run(workdir: Path, config: Config, identity: dict[str, str]) -> None:
    """Raises RunError unless a run directory is of this config, data and vocabulary.

    Args:
        workdir: the run directory.
        config: the settings of this call.
        identity: fingerprints of this call's data and vocabulary.
    """
    found = files.read_json(workdir / RUN, RunError, "give a new --workdir")
    for key, remedy in (
        ("vocabulary", "prepare the data as before"),
        ("data", "give the --data_dir of that run"),
    ):
        if found.get(key) != identity[key]:
            raise RunError(
                f"{workdir / RUN}: the run's {key} has fingerprint {found.get(key)}, --data_dir "
                f"has {identity[key]}: {remedy}, or give a new --workdir"
            )
    before, now = _flat(configs.load_config(workdir)), _flat(config)
    changed = [
        f"--{name}={before[name]} (now {now[name]})" for name in now if before[name] != now[name]
    ]
    if changed:
        path = workdir / configs.CONFIG_NAME
        raise RunError(
            f"{path} was trained with {', '.join(changed)}: give these, or a new --workdir"
        )


def _flat(config: Config) -> dict[str, Any]:
    sections = dataclasses.asdict(config).values()
    return {
        name: value
        for section in sections
        for name, value in section.items()
        if name not in configs.MOVABLE
    }
