"""The machine at hand: its CPU, and what TensorFlow says on it."""

__all__: list[str] = []
