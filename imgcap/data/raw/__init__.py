"""Readers of raw data sets, and one that is drawn."""

__all__: list[str] = []
