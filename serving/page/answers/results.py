"""The results of a visit: kept, and listed when their photo has left the page."""

import html
from typing import NamedTuple

import streamlit as st

from serving.client import Caption
from serving.client.confidence import confidence_in_words
from serving.page.photos.photo import Photo

HISTORY_LENGTH = 200


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
