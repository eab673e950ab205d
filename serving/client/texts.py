"""Captions as text for other programs: alternative texts of HTML, and cells of a spreadsheet."""

import csv
import html
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet runs."""

_ENDS = (".", "!", "?", "。", "！", "？", "…", "।", "؟", "۔", "။", "։")
"""Signs that end a sentence."""

_FULL_STOPS = (
    (0x0530, 0x058F, "։"),  # Armenian
    (0x0900, 0x09FF, "।"),  # Devanagari, Bengali
    (0x0A00, 0x0A7F, "।"),  # Gurmukhi
    (0x0E00, 0x0EFF, ""),  # Thai, Lao
    (0x1000, 0x109F, "။"),  # Myanmar
    (0x1200, 0x137F, "።"),  # Ethiopic
    (0x1780, 0x17FF, ""),  # Khmer
    (0x2E80, 0xA4CF, "。"),  # Han, Hiragana, Katakana, Yi
    (0xF900, 0xFAFF, "。"),  # Han
    (0x20000, 0x3FFFF, "。"),  # Han
)
"""First and last letter of scripts with a full stop of their own, and that."""


def escape_attribute(text: str) -> str:
    """Escapes a text for an HTML attribute in double quotes."""
    # Apostrophes may stay, and "man's" stays readable.
    return html.escape(text, quote=False).replace('"', "&quot;")


def make_alt_text(caption: str) -> str:
    """Makes a sentence of a caption, escaped for an HTML attribute in double quotes.

    Args:
        caption: words in lower case without a full stop, such as "a dog's ball".

    Returns:
        Such as "A dog's ball."; empty for an empty caption. Letters without capitals stay, and the
        full stop is that of the last letter's script ("一只狗。"); Thai, Lao and Khmer have none.
    """
    words = caption.strip()
    if not words:
        return ""
    end = "" if words.endswith(_ENDS) else _full_stop(words)
    # Title case: the upper case of Georgian letters does not begin sentences.
    return escape_attribute(words[0].title() + words[1:] + end)


def _full_stop(words: str) -> str:
    """The full stop after some words, by the script of their last letter."""
    letters = [letter for letter in words if letter.isalpha()]
    code = ord(letters[-1]) if letters else 0
    return next((stop for first, last, stop in _FULL_STOPS if first <= code <= last), ".")


class CsvRows:
    """Writes rows of CSV in which no text is a formula, each as soon as it is there."""

    def __init__(self, file: TextIO, columns: Sequence[str]) -> None:
        """Writes the header.

        Args:
            file: where to.
            columns: names of the columns.
        """
        self._writer = csv.DictWriter(file, columns)
        self._writer.writeheader()

    def write(self, row: Mapping[str, Any]) -> None:
        """Writes a row; text that a spreadsheet would run gets an apostrophe in front.

        Args:
            row: a value a column; None is an empty cell.
        """
        self._writer.writerow({name: _defused(value) for name, value in row.items()})


def _defused(value: Any) -> Any:
    dangerous = isinstance(value, str) and value.startswith(FORMULA_STARTS)
    return f"'{value}" if dangerous else value
