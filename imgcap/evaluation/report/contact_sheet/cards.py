"""The cards of a contact sheet: an image with its caption, references, score and confidence."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from imgcap.config.confidence import Level, confidence_level
from imgcap.data.pictures import encode_jpeg, load_rgb

THUMBNAIL_QUALITY = 80
"""JPEG quality of a picture in the page: within 0.9 levels of the model's picture, 1.1 at 75."""

THUMBNAIL_SIZE = 320
"""Longest side of a picture in the page, in pixels; about 18 KB each as JPEG."""

LEVELS: dict[Level, str] = {"sure": "sure", "fairly sure": "fairly-sure", "unsure": "unsure"}
"""How far to trust a caption, and the class of its card."""


@dataclass(frozen=True)
class Entry:
    """One image of the sheet.

    Attributes:
        image_id: its name.
        image_bytes: the encoded image file; if it can't be read, the page says so in its place.
        caption: of the model.
        references: by people.
        score: of the caption, CIDEr x 100 (see `imgcap.evaluation.scores.score_each`).
        others: further captions of the model, best first, if it was asked for several.
        confidence: that the caption is as good as a person's, in [0, 1]; None if it is unknown.
        runner_up: the caption that a search for one caption found second; None if there is none.
    """

    image_id: str
    image_bytes: bytes
    caption: str
    references: Sequence[str]
    score: float
    others: Sequence[str] = ()
    confidence: float | None = None
    runner_up: str | None = None


def card_id(rank: int) -> str:
    """The id of the card of the image of a rank, from 0; what links of the page lead to."""
    return f"image-{rank + 1}"


def make_card(entry: Entry, rank: int) -> str:
    """Makes the card of an image.

    Args:
        entry: the image.
        rank: by CIDEr, from 0.

    Returns:
        HTML.
    """
    caption = escape(entry.caption) if entry.caption.strip() else "<em>no words</em>"
    level, badge = "", ""
    if entry.confidence is not None:
        words = confidence_level(entry.confidence)
        level = LEVELS[words]
        badge = (
            f'<span class="level">{words.capitalize()} <small>{entry.confidence:.0%}</small></span>'
        )
    return (
        f'<figure id="{card_id(rank)}" class="card {level}" tabindex="-1">{_make_picture(entry)}'
        f'<figcaption><p class="score"><span class="rank">#{rank + 1}</span>{badge}'
        f"<b>CIDEr {entry.score:.1f}</b></p>"
        f'<p class="caption" dir="auto">{caption}</p>{_make_others(entry)}'
        f"{_make_references(entry.references)}"
        f'<p class="name" dir="auto">{escape(entry.image_id)}</p></figcaption></figure>'
    )


def _make_others(entry: Entry) -> str:
    """The captions that the model liked less, HTML; the first is called the runner-up."""
    others = entry.others or [text for text in (entry.runner_up,) if text]
    label = '<span class="label">Runner-up</span> '
    return "".join(
        f'<p class="other">{"" if place else label}<bdi>{escape(text)}</bdi></p>'
        for place, text in enumerate(others)
    )


def _make_references(references: Sequence[str]) -> str:
    """What people wrote, HTML; empty if they wrote nothing."""
    if not references:
        return ""
    items = "".join(f'<li dir="auto">{escape(reference)}</li>' for reference in references)
    return f'<p class="label">People wrote</p><ul class="references">{items}</ul>'


def _make_picture(entry: Entry) -> str:
    """The image itself, within the page, HTML."""
    try:
        content = base64.b64encode(make_thumbnail(entry.image_bytes)).decode("ascii")
    except ValueError:
        return '<div class="unreadable">This image can’t be read.</div>'
    return (
        f'<img loading="lazy" decoding="async" src="data:image/jpeg;base64,{content}" '
        f'alt="{escape(entry.caption)}">'
    )


def make_thumbnail(image_bytes: bytes) -> bytes:
    """Shrinks an image to THUMBNAIL_SIZE, turned upright and on white.

    Args:
        image_bytes: an image file, as the model sees it.

    Returns:
        A JPEG file.

    Raises:
        ValueError: not an image, or broken.
    """
    return encode_jpeg(load_rgb(image_bytes, THUMBNAIL_SIZE), THUMBNAIL_QUALITY)
