"""Captions as text for other programs: alternative texts of HTML, and cells of a spreadsheet."""

import csv
import html
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet runs."""


def escape_attribute(text: str) -> str:
    """Escapes a text for an HTML attribute in double quotes."""
    # Apostrophes may stay, and "man's" stays readable.
    return html.escape(text, quote=False).replace('"', "&quot;")


def make_alt_text(caption: str) -> str:
    """Makes a sentence of a caption, escaped for an HTML attribute in double quotes.

    Args:
        caption: words in lower case without a full stop, such as "a dog's ball".

    Returns:
        Such as "A dog's ball."; empty for an empty caption.
    """
    words = caption.strip()
    if not words:
        return ""
    end = "" if words.endswith((".", "!", "?")) else "."
    return escape_attribute(words[0].upper() + words[1:] + end)


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
