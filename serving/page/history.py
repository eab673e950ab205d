"""The results of a visit: kept, listed when their photo has left the page, and downloaded."""

import csv
import io
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import streamlit as st

from serving.client import Caption
from serving.page.photos import Photo

HISTORY_LENGTH = 200
_COLUMNS = ("image", "caption", "score", "model_version", "seconds")


class Result(NamedTuple):
    """What came of a photo.

    Attributes:
        name: name of its file.
        thumbnail: a small JPEG of it, or the file itself if it is small; empty if it is no image.
        caption: the answer, or None.
        error: a plain sentence if there is no caption; else empty.
    """

    name: str
    thumbnail: bytes
    caption: Caption | None
    error: str


def results() -> dict[tuple, Result]:
    """All results of this visit, oldest first.

    The keys begin with the photo's digest; an image that was captioned once is not sent again.
    """
    return st.session_state.setdefault("results", {})


def forget_oldest() -> None:
    """Keeps `HISTORY_LENGTH` results at most."""
    known = results()
    while len(known) > HISTORY_LENGTH:
        known.pop(next(iter(known)))


def show_downloads() -> None:
    """Offers all captions of the visit as CSV and JSON."""
    rows = [to_row(result.name, result.caption) for result in results().values() if result.caption]
    if not rows:
        return
    left, right, _ = st.columns([1, 1, 2])
    left.download_button("Download CSV", to_csv(rows), "captions.csv", "text/csv")
    text = json.dumps(rows, indent=2, ensure_ascii=False)
    right.download_button("Download JSON", text, "captions.json", "application/json")


def show_history(photos: list[Photo]) -> None:
    """Lists what was captioned earlier in this visit and is not on the page now.

    Args:
        photos: those that are on the page.
    """
    here = {photo.digest for photo in photos}
    earlier = [
        (result.thumbnail, result.caption.text)
        for (digest, *_), result in results().items()
        if digest not in here and result.caption
    ]
    if not earlier:
        return
    with st.expander(f"Earlier in this visit ({len(earlier)})"):
        for thumbnail, text in reversed(earlier):
            left, right = st.columns([1, 4], vertical_alignment="center")
            with left:
                st.image(thumbnail, alt=text, width="stretch")
            with right:
                st.text(text)


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
        "model_version": caption.version,
        "seconds": round(caption.seconds, 4),
    }


def to_csv(rows: Iterable[dict[str, Any]]) -> str:
    """Rows as CSV; text that a spreadsheet would run as a formula gets an apostrophe in front."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _COLUMNS)
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _defused(value) for name, value in row.items()})
    return buffer.getvalue()


def _defused(value: Any) -> Any:
    dangerous = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if dangerous else value
