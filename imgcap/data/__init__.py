"""Data: raw photos to shards, and shards to batches."""

from imgcap.data.manifest import Manifest, load_manifest
from imgcap.data.text.tokenisation import normalise
from imgcap.data.text.vocabulary import Vocabulary

__all__ = ["Manifest", "Vocabulary", "load_manifest", "normalise"]
