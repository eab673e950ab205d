"""The machine at hand: CPU, terminal, installed programs, and what TensorFlow prints on it."""

from imgcap.host.cpu import missing_cpu_features

__all__ = ["missing_cpu_features"]
