"""Preparation: a raw data set to TFRecord shards, vocabulary and manifest."""

from imgcap.data.prepare.preparation import prepare
from imgcap.data.prepare.summary import describe

__all__ = ["describe", "prepare"]
