"""Choosing the words of a vocabulary: from the training captions, from a run, or from both."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from imgcap.config.prepare import WORD
from imgcap.data.text.vocabulary import SPECIALS, Vocabulary

USUAL_MIN_COUNT = 5
"""Least count of a word if the captions are many; usual for Flickr8k's 30,000."""

MOST_UNKNOWN = 0.05
"""Share of the training captions' words that a chosen least count may leave unknown."""

LEAST_NEW_COUNT = 2
"""Least count that is chosen for words added to a run's: one seen once may be a slip of the pen."""


class Words(NamedTuple):
    """A vocabulary and how it was chosen.

    Attributes:
        vocabulary: the words.
        min_count: least count of those that were taken from the training captions; 0 if none were.
        new_words: how many stand after the words of a run; 0 if the run's words are all, or if
            there is no run.
        unknown: words of the training captions that are not in the vocabulary, to their counts.
        unknown_fraction: their share of all words of the training captions, in [0, 1].
    """

    vocabulary: Vocabulary
    min_count: int
    new_words: int
    unknown: Counter[str]
    unknown_fraction: float

    def most_unknown(self, count: int) -> list[tuple[str, int]]:
        """The most frequent unknown words and their counts; equal counts alphabetically."""
        ranked = sorted(self.unknown.items(), key=lambda item: (-item[1], item[0]))
        return ranked[:count]


def choose_words(
    counts: Mapping[str, int],
    min_count: int,
    base: Vocabulary | None,
    extend: bool,
    tokenizer: str = WORD,
) -> Words:
    """Chooses the words by which captions are numbered.

    Args:
        counts: of the words of the training captions.
        min_count: least count of a word that is taken from the captions; 0 chooses it by them.
        base: vocabulary of a run, whose words keep their numbers; None to start from nothing.
        extend: whether frequent words of the captions are added to those of the run.
        tokenizer: how captions were split; that of `base`, if there is one.

    Returns:
        The vocabulary, and what it leaves out.
    """
    if base is not None and not extend:
        return _sum_up(base, counts, 0, 0)
    taken = min_count or choose_min_count(counts)
    if base is None:
        return _sum_up(
            Vocabulary(SPECIALS, tokenizer).extend_by_counts(counts, taken), counts, taken, 0
        )
    if not min_count:
        taken = max(LEAST_NEW_COUNT, taken)
    extended = base.extend_by_counts(counts, taken)
    return _sum_up(extended, counts, taken, len(extended) - len(base))


def choose_min_count(counts: Mapping[str, int]) -> int:
    """Chooses the least count of a word by the size of the data.

    It is the greatest of 5, 4, 3, 2, 1 that leaves at most `MOST_UNKNOWN` of the words unknown. On
    Flickr8k that is 5 for 30,000 captions (2.6 % unknown) and for 10,000 (4.7 %), 3 for 5,000 and 1
    for 1,000 or less, of which 2 would leave 6 to 17 % unknown.

    Args:
        counts: of the words of the training captions.

    Returns:
        The least count, 1 to `USUAL_MIN_COUNT`.
    """
    total = sum(counts.values())
    for least in range(USUAL_MIN_COUNT, 1, -1):
        rare = sum(count for count in counts.values() if count < least)
        if rare <= MOST_UNKNOWN * total:
            return least
    return 1


def _sum_up(
    vocabulary: Vocabulary, counts: Mapping[str, int], min_count: int, new_words: int
) -> Words:
    """The words that were chosen, with what they leave out."""
    known = set(vocabulary.words)
    unknown = Counter({word: count for word, count in counts.items() if word not in known})
    share = sum(unknown.values()) / max(1, sum(counts.values()))
    return Words(vocabulary, min_count, new_words, unknown, share)
