"""The settings of a run as one tree, which `config.json` keeps."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgcap.config.decode import DecodeConfig, decode_from_tree
from imgcap.config.model import ATTENDING, ModelConfig
from imgcap.config.train import TrainConfig
from imgcap.errors import ConfigError

MOVABLE = {
    "data_dir",
    "workdir",
    "cache_dir",
    "strategy",
    "num_logical_cpus",
    "log_every",
    "keep_checkpoints",
    "checkpoint_every",
    "patience",
    "accumulate_steps",
    "recompute",
    "skip_bad_records",
    "data_service",
}
"""Settings of where and how a run is computed, not of what; they may change when it is resumed."""


@dataclass(frozen=True)
class Config:
    """All settings of a run, kept as config.json in its directory.

    Attributes:
        model: encoder and decoder.
        train: data, optimisation and numerics.
        decode: the search.
    """

    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    decode: DecodeConfig = dataclasses.field(default_factory=DecodeConfig)

    def __post_init__(self) -> None:
        if self.train.attention_regulariser and self.model.decoder not in ATTENDING:
            raise ConfigError(
                f"--attention_regulariser={self.train.attention_regulariser} needs a decoder that "
                f"attends ({', '.join(ATTENDING)}), not --decoder={self.model.decoder}"
            )


def to_json(config: Any) -> str:
    """Writes a config as indented JSON, keys in the order of the fields."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def config_from_json(text: str, path: Path) -> Config:
    """Reads what `to_json` wrote.

    Args:
        text: JSON of a `Config`.
        path: the file it came from, for the error line.

    Returns:
        The config.

    Raises:
        ConfigError: the text is no JSON, or has a setting this version does not know.
    """
    try:
        tree = json.loads(text)
        return Config(
            ModelConfig(**tree["model"]),
            TrainConfig(**tree["train"]),
            decode_from_tree(tree["decode"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError, ConfigError) as error:
        raise ConfigError(
            f"{path} is not a config of this version of imgcap ({error}): train into a new workdir"
        ) from None
