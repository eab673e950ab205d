"""All settings with their defaults and limits, as typed dataclasses; flags are made from them."""

from imgcap.config.commands import (
    AverageConfig,
    CompareConfig,
    DataServiceConfig,
    EvaluateConfig,
    PrepareConfig,
    ShowConfig,
)
from imgcap.config.limits import MAX_MAX_PIXELS, MAX_PIXELS
from imgcap.config.run import (
    ATTENDING,
    MOVABLE,
    Config,
    DecodeConfig,
    ModelConfig,
    TrainConfig,
    config_from_json,
    to_json,
)
from imgcap.config.setting import Section, flag_fields, setting

__all__ = [
    "ATTENDING",
    "AverageConfig",
    "CompareConfig",
    "Config",
    "DataServiceConfig",
    "DecodeConfig",
    "EvaluateConfig",
    "MAX_MAX_PIXELS",
    "MAX_PIXELS",
    "MOVABLE",
    "ModelConfig",
    "PrepareConfig",
    "Section",
    "ShowConfig",
    "TrainConfig",
    "config_from_json",
    "flag_fields",
    "setting",
    "to_json",
]
