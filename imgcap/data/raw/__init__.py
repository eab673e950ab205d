"""Readers of raw data sets, and a data set that is drawn."""

from imgcap.data.raw.example import SPLITS, Example, RawDataset

__all__ = ["SPLITS", "Example", "RawDataset"]
