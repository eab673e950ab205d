"""The captions and alternative texts of a visit as files."""

import functools
import html
import io
import json
from collections.abc import Iterable
from typing import Any

import streamlit as st

from serving.client.confidence import confidence_in_words
from serving.client.texts import CsvRows
from serving.page.answers.gallery import draw_thumbnail
from serving.page.answers.results import Result, Visit, clear_visit
from serving.page.photos.photo import Photo

COLUMNS = (
    "image",
    "alt_text",
    "caption",
    "edited",
    "confidence",
    "score",
    "model_version",
    "seconds",
)
"""Columns of the downloads; programs of others read them."""

FORMATS = {
    "CSV": "text/csv",
    "JSON": "application/json",
    "JSONL": "application/jsonl",
    "HTML": "text/html",
}
"""Kinds of files that can be downloaded, with their media types."""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Alternative texts</title>
<style>
:root {{ color-scheme: light dark; }}
body {{
  font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem;
}}
ul {{
  display: grid; gap: 1.5rem; list-style: none; padding: 0;
  grid-template-columns: repeat(auto-fill, minmax(min(15rem, 100%), 1fr));
}}
img {{ display: block; height: auto; max-width: 100%; }}
p {{ margin: .3rem 0; overflow-wrap: anywhere; }}
</style>
</head>
<body>
<h1>Alternative texts</h1>
<ul>
{items}
</ul>
</body>
</html>
"""


def show_downloads(visit: Visit) -> None:
    """Offers what was captioned in the visit as files, and to forget all of it.

    Args:
        visit: its edited texts are what the files hold.
    """
    captioned = visit.captioned()
    if not captioned:
        return
    st.html('<p class="imgcap-label">Captions and alt texts of this visit</p>')
    with st.container(horizontal=True, key="downloads"):
        for label, kind in FORMATS.items():
            # Made when it is clicked, by which time more may have been captioned.
            content = functools.partial(make_file, visit, label)
            name = f"captions.{label.lower()}"
            st.download_button(f"Download {label}", content, name, kind, on_click="ignore")
        st.button("Clear", key="clear", on_click=clear_visit, help="Forgets all photos and texts.")


def make_file(visit: Visit, label: str) -> bytes:
    """Makes a download.

    Args:
        visit: its captioned photos and edited texts.
        label: of `FORMATS`.
    """
    if label == "HTML":
        return to_html(visit).encode()
    return {"CSV": to_csv, "JSON": to_json, "JSONL": to_jsonl}[label](to_rows(visit)).encode()


def to_rows(visit: Visit) -> list[dict[str, Any]]:
    """The rows of the downloads, a value for each of `COLUMNS`."""
    return [to_row(visit, photo, result) for photo, result in visit.captioned().items()]


def to_row(visit: Visit, photo: Photo, result: Result) -> dict[str, Any]:
    """One row of the downloads.

    Args:
        visit: knows the edited texts.
        photo: the photo.
        result: its answer, with a caption.
    """
    caption = result.caption
    assert caption is not None
    return {
        "image": photo.name,
        "alt_text": visit.alt_text(photo, caption),
        "caption": caption.text,
        "edited": visit.is_edited(photo, caption),
        "confidence": None if caption.confidence is None else round(caption.confidence, 4),
        "score": round(caption.score, 4),
        "model_version": caption.version,
        "seconds": round(caption.seconds, 4),
    }


def to_csv(rows: Iterable[dict[str, Any]]) -> str:
    """Rows as CSV; text that a spreadsheet would run as a formula gets an apostrophe in front."""
    buffer = io.StringIO()
    table = CsvRows(buffer, COLUMNS)
    for row in rows:
        table.write(row)
    return buffer.getvalue()


def to_json(rows: Iterable[dict[str, Any]]) -> str:
    """Rows as one JSON array."""
    return json.dumps(list(rows), indent=2, ensure_ascii=False)


def to_jsonl(rows: Iterable[dict[str, Any]]) -> str:
    """Rows as JSON, one a line."""
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)


def to_html(visit: Visit) -> str:
    """A page of its own with the photos, small, and their alternative texts."""
    items = []
    for photo, result in visit.captioned().items():
        row = to_row(visit, photo, result)
        alt = html.escape(row["alt_text"])
        notes = ["edited"] if row["edited"] else []
        if row["confidence"] is not None:
            notes.append(confidence_in_words(row["confidence"]))
        small = f"<p><small>{html.escape(' · '.join(notes))}</small></p>" if notes else ""
        items.append(
            f'<li>{draw_thumbnail(result, row["alt_text"])}<p dir="auto">{alt}</p>{small}'
            f"<p><small><bdi>{html.escape(photo.name)}</bdi></small></p></li>"
        )
    return _PAGE.format(items="\n".join(items))
