"""The words that a model knows: words to numbers and back, and the file that keeps them."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from imgcap import files
from imgcap.config.prepare import TOKENIZERS, WORD
from imgcap.data.text.tokenisation import join_words
from imgcap.errors import DataError
from imgcap.files.locations import open_file

PAD, START, END, UNK = 0, 1, 2, 3
"""Numbers of the special tokens; PAD is 0 so that zero-padding a batch needs no other value."""

SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")
"""Texts of the special tokens, by number; `normalise` never makes one: it drops the brackets."""


@dataclass(frozen=True)
class Vocabulary:
    """The words that a model knows; the number of a word is its place.

    Attributes:
        words: all words, the special tokens first.
        tokenizer: by which captions are split into such words, 'word' or 'character'.

    Raises:
        DataError: the special tokens are not in front, a word is empty, has a space or stands
            twice, or the tokenizer is unknown.
    """

    words: tuple[str, ...]
    tokenizer: str = WORD

    def __post_init__(self) -> None:
        if self.tokenizer not in TOKENIZERS:
            raise DataError(
                f"the vocabulary is of the tokenizer {self.tokenizer!r}, this version of imgcap "
                f"has {', '.join(TOKENIZERS)}: use the version that wrote it"
            )
        fault = _find_fault(self.words)
        if fault:
            raise DataError(f"{fault}: build the vocabulary anew with imgcap-prepare")

    @classmethod
    def build(cls, captions: Iterable[Sequence[str]], min_count: int) -> "Vocabulary":
        """Makes the vocabulary of the frequent words of captions.

        Args:
            captions: words of each training caption.
            min_count: least count of a word that is kept.

        Returns:
            The special tokens, then the kept words by falling count, equal counts alphabetically.
        """
        return cls(SPECIALS).extend(captions, min_count)

    def extend(self, captions: Iterable[Sequence[str]], min_count: int) -> "Vocabulary":
        """Makes a vocabulary of these words and, after them, the frequent new ones of captions.

        Args:
            captions: words of each training caption.
            min_count: least count of a word that is added.

        Returns:
            The words of this vocabulary under their numbers, then the added ones by falling count,
            equal counts alphabetically.
        """
        counts = Counter(word for caption in captions for word in caption)
        return self.extend_by_counts(counts, min_count)

    def extend_by_counts(self, counts: Mapping[str, int], min_count: int) -> "Vocabulary":
        """Makes the vocabulary of `extend` from counts of words.

        Args:
            counts: word to how often the captions have it.
            min_count: least count of a word that is added.

        Returns:
            The words of this vocabulary, then the added ones.
        """
        known = set(self.words)
        added = [word for word, count in counts.items() if count >= min_count and word not in known]
        added.sort(key=lambda word: (-counts[word], word))
        return Vocabulary((*self.words, *added), self.tokenizer)

    def starts_with(self, other: "Vocabulary") -> bool:
        """Whether the words of another vocabulary are the first of this one, in the same order."""
        return self.words[: len(other)] == other.words

    @classmethod
    def load(cls, path: Path | str, tokenizer: str = WORD) -> "Vocabulary":
        """Reads a vocabulary from the file that `save` wrote.

        Args:
            path: a UTF-8 text, one word a line; a path or an address.
            tokenizer: of its words; the manifest or the run beside the file says it.

        Returns:
            The vocabulary.

        Raises:
            DataError: the file is missing, cut off, or breaks a rule of the class; names file and
                line.
        """
        remedy = "take it from the folder that imgcap-prepare wrote, or run imgcap-prepare again"
        try:
            # Bytes, so that no line ending is translated: the fingerprint is of the bytes.
            with open_file(str(path)) as file:
                text = file.read().decode("utf-8")
        except FileNotFoundError:
            raise DataError(f"{path} is missing: {remedy}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} can't be read ({error}): {remedy}") from None
        *words, rest = text.split("\n")
        fault = _find_fault(words) or (
            f"line {len(words) + 1} is cut off: {rest!r}" if rest else None
        )
        if fault:
            raise DataError(f"{path}, {fault}: {remedy}")
        return cls(tuple(words), tokenizer)

    def save(self, path: Path | str) -> None:
        """Writes the words to a file in one step, one word a line, UTF-8; the folder must exist."""
        files.write_text(path, self._text)

    def encode(self, words: Sequence[str], max_length: int) -> list[int]:
        """Turns the words of a caption into numbers for training.

        Args:
            words: from `normalise`.
            max_length: most words that are used, apart from START and END.

        Returns:
            START, the words (unknown ones as UNK), END. A longer caption is cut and has no END, so
            that the model is never taught to stop in the middle of a sentence.
        """
        numbers = [self._numbers.get(word, UNK) for word in words[:max_length]]
        return [START, *numbers] if len(words) > max_length else [START, *numbers, END]

    def decode(self, ids: Iterable[int]) -> str:
        """Turns numbers into the text of a caption.

        Args:
            ids: numbers of words, each in [0, V); START and PAD are skipped, those after END are
                dropped.

        Returns:
            The words, joined by `join_words` ("a dog's ball").

        Raises:
            DataError: a number is outside the vocabulary.
        """
        words = []
        for number in ids:
            if number == END:
                break
            if not 0 <= number < len(self.words):
                raise DataError(
                    f"token {number} is outside the vocabulary of {len(self.words)} words: use the "
                    "vocab.txt of the run that the model came from"
                )
            if number not in (PAD, START):
                words.append(self.words[number])
        return join_words(words, self.tokenizer)

    @cached_property
    def fingerprint(self) -> str:
        """The first 16 hex digits of the SHA-256 of the saved file."""
        return hashlib.sha256(self._text.encode("utf-8")).hexdigest()[:16]

    def __len__(self) -> int:
        """V: all words, the special tokens included."""
        return len(self.words)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    @property
    def _text(self) -> str:
        return "".join(f"{word}\n" for word in self.words)


def _find_fault(words: Sequence[str]) -> str | None:
    """The first broken rule of a list of words, with its line in the file; None if all hold."""
    for line, special in enumerate(SPECIALS, start=1):
        found = repr(words[line - 1]) if line <= len(words) else "nothing"
        if found != repr(special):
            return f"line {line} has {found} in place of the special token {special!r}"
    first_lines: dict[str, int] = {}
    for line, word in enumerate(words, start=1):
        if not word:
            return f"line {line} is empty"
        if word.split() != [word]:
            return f"line {line} has white space in {word!r}"
        if first_lines.setdefault(word, line) != line:
            return (
                f"line {line} has {word!r} for the second time (first in line {first_lines[word]})"
            )
    return None
