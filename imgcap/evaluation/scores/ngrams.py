"""Counting n-grams, for BLEU and CIDEr."""

from collections import Counter
from collections.abc import Hashable, Sequence

from imgcap.data.text.ngrams import MAX_ORDER

Words = Sequence[Hashable]
"""The words of one caption, texts or numbers; scores only compare whether two words are equal."""

NGram = tuple[Hashable, ...]


def count_ngrams(words: Words) -> Counter[NGram]:
    """Counts each run of 1 to `MAX_ORDER` words of a caption."""
    counts: Counter[NGram] = Counter()
    for order in range(1, MAX_ORDER + 1):
        counts.update(zip(*(words[start:] for start in range(order)), strict=False))
    return counts
