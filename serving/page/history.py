"""The results of a visit: kept, listed when their photo has left the page, and downloaded."""

import html
import io
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import streamlit as st

from serving.client import Caption
from serving.client.confidence import confidence_in_words
from serving.client.texts import CsvRows
from serving.page.photos import Photo

HISTORY_LENGTH = 200
_COLUMNS = ("image", "caption", "score", "confidence", "model_version", "seconds")


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
        (result.thumbnail, result.caption)
        for (digest, *_), result in results().items()
        if digest not in here and result.caption
    ]
    if not earlier:
        return
    with st.expander(f"Earlier in this visit ({len(earlier)})"):
        for thumbnail, caption in reversed(earlier):
            left, right = st.columns([1, 4], vertical_alignment="center")
            with left:
                st.image(thumbnail, alt=caption.text, width="stretch")
            with right:
                st.text(caption.text)
                if caption.confidence is not None:
                    st.html(describe_confidence(caption.confidence))


def describe_confidence(confidence: float) -> str:
    """HTML of how far to trust a caption: in words, with the number as a detail.

    Args:
        confidence: in [0, 1].
    """
    words = confidence_in_words(confidence)
    return (
        f'<p class="imgcap-trust imgcap-{words.partition(":")[0].replace(" ", "-")}">'
        f"{html.escape(words)} <span>· {confidence:.0%} likely to be as good as a person’s"
        "</span></p>"
    )


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
