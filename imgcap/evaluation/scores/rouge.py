"""ROUGE-L (Lin and Och 2004): the longest common subsequence, as the COCO caption evaluation weighs
it.
"""

from collections.abc import Hashable, Sequence

from imgcap.evaluation.scores.ngrams import Words

BETA = 1.2
"""Weight of recall against precision in the F-measure."""


def rouge_l(candidate: Words, references: Sequence[Words]) -> float:
    """ROUGE-L of one caption: the F-measure of its best precision and its best recall.

    The two may come from different references; so the COCO code has it.

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
    """Words in the longest sequence that both captions hold in the same order, gaps allowed.

    One bit a word of `first`, one addition a word of `second` (Hyyrö 2004): a bit of `row` is 0
    where the subsequence grows. Ten times as fast as the table of all pairs, which matters for the
    constant caption.
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
