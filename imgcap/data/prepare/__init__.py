"""Preparation: a raw data set to TFRecord shards, vocabulary and manifest."""

__all__: list[str] = []
