"""Captions as text: split into words, numbered, and put together again."""

from imgcap.data.text.tokenisation import normalise
from imgcap.data.text.vocabulary import Vocabulary

__all__ = ["Vocabulary", "normalise"]
