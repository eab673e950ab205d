"""Data: raw photos to shards, and shards to batches."""

from imgcap.data.manifest import Manifest, load_manifest
from imgcap.data.vocabulary import Vocabulary, normalise

__all__ = ["Manifest", "Vocabulary", "load_manifest", "normalise"]
