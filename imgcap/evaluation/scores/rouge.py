"""ROUGE-L (Lin and Och 2004), by the longest common subsequence, as in the COCO evaluation."""

from collections.abc import Hashable, Sequence

from imgcap.evaluation.scores.ngrams import Words

BETA = 1.2
"""Weight of recall against precision in the F-measure."""


def rouge_l(candidate: Words, references: Sequence[Words]) -> float:
    """Computes ROUGE-L of one caption: the F-measure of its best precision and its best recall.

    As in the COCO code, the two may come from different references.

    Args:
        candidate: a caption, as words; may be empty.
        references: captions of the same image; at least one.

    Returns:
        A score in [0, 1]; 0 if no word is shared.
    """
    common = [longest_common_subsequence(candidate, words) for words in references]
    if not any(common):
        return 0.0
    precision = max(common) / len(candidate)
    recall = max(
        length / max(len(words), 1) for length, words in zip(common, references, strict=True)
    )
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def longest_common_subsequence(first: Words, second: Words) -> int:
    """Counts the words of the longest sequence that both captions hold in order, gaps allowed.

    One bit a word of `first`, one addition a word of `second` (Hyyrö 2004): a bit of `row` turns 0
    where the subsequence grows. Ten times as fast as the table of all pairs, which matters for the
    constant caption. Worked example, "a b c" against "b c": b matches bit 1, so row 0b111 becomes
    (0b111 + 0b010) | 0b101 = 0b1101; c matches bit 2, so it becomes (0b1101 + 0b100) | 0b1001 =
    0b11001, whose low three bits have two zeros: length 2.

    Args:
        first: a caption, as words.
        second: another one.

    Returns:
        The length, in words.
    """
    places: dict[Hashable, int] = {}
    for place, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << place
    full = (1 << len(first)) - 1
    row = full
    for word in second:
        matched = row & places.get(word, 0)
        row = (row + matched) | (row - matched)
    return len(first) - (row & full).bit_count()
