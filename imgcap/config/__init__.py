"""All settings with their defaults and limits, as typed dataclasses; flags are made from them."""

from imgcap.config.commands import (
    AverageConfig,
    CompareConfig,
    DataServiceConfig,
    EnsembleConfig,
    EvaluateConfig,
    PackConfig,
    ShowConfig,
)
from imgcap.config.decode import DecodeConfig, decode_from_tree
from imgcap.config.limits import MAX_MAX_PIXELS, MAX_PIXELS
from imgcap.config.model import ATTENDING, ModelConfig
from imgcap.config.prepare import PrepareConfig
from imgcap.config.run import MOVABLE, Config, config_from_json, to_json
from imgcap.config.setting import Section, flag_fields, setting
from imgcap.config.train import TrainConfig

__all__ = [
    "ATTENDING",
    "AverageConfig",
    "CompareConfig",
    "Config",
    "DataServiceConfig",
    "DecodeConfig",
    "EnsembleConfig",
    "EvaluateConfig",
    "MAX_MAX_PIXELS",
    "MAX_PIXELS",
    "MOVABLE",
    "ModelConfig",
    "PackConfig",
    "PrepareConfig",
    "Section",
    "ShowConfig",
    "TrainConfig",
    "config_from_json",
    "decode_from_tree",
    "flag_fields",
    "setting",
    "to_json",
]
