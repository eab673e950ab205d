"""A photo's alternative text: ready to copy if the model is sure, else a draft to check."""

import streamlit as st

from serving.client import Caption
from serving.client.texts import escape_attribute
from serving.page.answers.results import Visit
from serving.page.photos.photo import Photo

MAX_LETTERS = 1000
_HEIGHT = 80  # of the field, in pixels: two lines


def show_alt_text(visit: Visit, photo: Photo, caption: Caption) -> None:
    """Draws the alternative text, and a field to change it.

    Args:
        visit: keeps what the visitor writes.
        photo: the photo.
        caption: its caption.
    """
    text = visit.alt_text(photo, caption)
    if visit.is_ready(photo, caption):
        edited = ' <span class="imgcap-edited">edited</span>'
        mark = edited if visit.is_edited(photo, caption) else ""
        st.html(f'<p class="imgcap-label">Alt text, ready to copy{mark}</p>')
        st.code(f'alt="{escape_attribute(text)}"', language="html", wrap_lines=True)
        label = "Change it"
    else:
        st.html('<p class="imgcap-label imgcap-check">Check this one before you use it</p>')
        label = "Draft of an alt text: compare it with the picture, and correct it"
    # Streamlit keeps what a field with the same key holds, so another caption gets another key.
    key = f"alt {photo.digest} {caption.text}"
    st.text_area(
        label,
        text,
        key=key,
        height=_HEIGHT,
        max_chars=MAX_LETTERS,
        on_change=_keep,
        args=(visit, photo, key),
        help="Empty the field to have the caption back.",
    )
    if not visit.is_ready(photo, caption):
        st.button(
            "It is right",
            key=f"right {photo.digest}",
            on_click=visit.edits.__setitem__,
            args=(photo.digest, caption.text),
        )


def _keep(visit: Visit, photo: Photo, key: str) -> None:
    """Keeps what was written, on one line; nothing written is the caption again."""
    text = " ".join(st.session_state[key].split())
    if text:
        visit.edits[photo.digest] = text
    else:
        visit.edits.pop(photo.digest, None)
        del st.session_state[key]
