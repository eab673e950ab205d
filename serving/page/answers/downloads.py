"""The captions of a visit as files."""

import io
import json
from collections.abc import Iterable
from typing import Any

import streamlit as st

from serving.client import Caption
from serving.client.texts import CsvRows
from serving.page.answers.results import results

_COLUMNS = ("image", "caption", "score", "confidence", "model_version", "seconds")


def show_downloads() -> None:
    """Offers all captions of the visit as CSV and JSON."""
    rows = [to_row(result.name, result.caption) for result in results().values() if result.caption]
    if not rows:
        return
    left, right, _ = st.columns([1, 1, 2])
    left.download_button("Download CSV", to_csv(rows), "captions.csv", "text/csv")
    text = json.dumps(rows, indent=2, ensure_ascii=False)
    right.download_button("Download JSON", text, "captions.json", "application/json")


def to_row(name: str, caption: Caption) -> dict[str, Any]:
    """One row of the downloads.

    Args:
        name: name of the photo's file.
        caption: the answer for it.
    """
    return {
        "image": name,
        "caption": caption.text,
        "score": round(caption.score, 4),
        "confidence": None if caption.confidence is None else round(caption.confidence, 4),
        "model_version": caption.version,
        "seconds": round(caption.seconds, 4),
    }


def to_csv(rows: Iterable[dict[str, Any]]) -> str:
    """Rows as CSV; text that a spreadsheet would run as a formula gets an apostrophe in front."""
    buffer = io.StringIO()
    table = CsvRows(buffer, _COLUMNS)
    for row in rows:
        table.write(row)
    return buffer.getvalue()
