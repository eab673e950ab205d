"""The encoder rewritten for CPUs, and compared with Keras' own."""

from export.cpu.densenet import read_densenet
from export.cpu.optimize import (
    CPU,
    CPU_BF16,
    NONE,
    FastEncoder,
    FeatureCheck,
    check_features,
    make_fast_encoder,
)

__all__ = [
    "CPU",
    "CPU_BF16",
    "FastEncoder",
    "FeatureCheck",
    "NONE",
    "check_features",
    "make_fast_encoder",
    "read_densenet",
]
