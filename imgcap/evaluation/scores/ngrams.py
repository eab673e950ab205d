"""n-grams, which BLEU and CIDEr both count."""

from collections import Counter
from collections.abc import Hashable, Sequence

Words = Sequence[Hashable]
"""The words of one caption: texts or numbers; scores only ask whether two words are equal."""

NGram = tuple[Hashable, ...]

MAX_ORDER = 4
"""Words in the longest n-gram."""


def count_ngrams(words: Words) -> Counter[NGram]:
    """How often each run of 1 to `MAX_ORDER` words occurs in a caption."""
    counts: Counter[NGram] = Counter()
    for order in range(1, MAX_ORDER + 1):
        counts.update(zip(*(words[start:] for start in range(order)), strict=False))
    return counts
