"""One photo's answer: its card, the alternative text under it, or what went wrong."""

import streamlit as st

from serving.page.answers.alt_text import show_alt_text
from serving.page.answers.markup import card_html
from serving.page.answers.results import Result, Visit
from serving.page.photos.photo import Photo


def show_result(visit: Visit, photo: Photo, result: Result) -> None:
    """Draws a photo's card and its alternative text.

    Args:
        visit: whose photo; an edited text is kept there.
        photo: the photo.
        result: its caption, or a sentence that says why there is none.
    """
    picture = result.thumbnails.card if result.thumbnails else b""
    st.html(card_html(photo.digest, photo.name, picture, result.caption, result.error))
    if result.caption is not None:
        show_alt_text(visit, photo, result.caption)


def show_waiting(waits: bool) -> None:
    """Draws the card of a photo whose caption is not there yet.

    Args:
        waits: whether a server was asked.
    """
    text = (
        'Looking at the picture … <span class="imgcap-slow">It takes longer than usual; the server '
        "may be busy.</span>"
        if waits
        else "This photograph waits for a model server."
    )
    st.html(f'<div class="imgcap-card imgcap-waiting"><p class="imgcap-facts">{text}</p></div>')


def describe_result(photo: Photo, result: Result) -> str:
    """A sentence on a result for those who listen."""
    if result.caption is None:
        return f"{photo.name}: {result.error}"
    return f"Caption of {photo.name}: {result.caption.text}"
