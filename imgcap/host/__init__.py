"""The machine at hand: its CPU and its terminal, and the messages that TensorFlow prints on it."""

from imgcap.host.cpu import missing_cpu_features

__all__ = ["missing_cpu_features"]
