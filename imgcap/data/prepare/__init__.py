"""Preparation: a raw data set to TFRecord shards, vocabulary and manifest."""

from imgcap.data.prepare.preparation import describe, prepare, prepare_part

__all__ = ["describe", "prepare", "prepare_part"]
