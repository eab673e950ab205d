"""Data: raw photos to shards, and shards to batches."""

__all__: list[str] = []
