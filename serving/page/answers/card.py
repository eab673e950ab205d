"""The card of one photo: the photo beside its caption, the runners-up and an alt text."""

import hashlib
import html
import math

import streamlit as st

from imgcap.data.pictures import SENT_QUALITY, encode_jpeg, load_rgb
from serving.client import Caption
from serving.client.confidence import is_sure
from serving.client.heatmap import shade
from serving.client.texts import escape_attribute
from serving.page.answers.results import Result, describe_confidence
from serving.page.messages import show_note
from serving.page.photos.photo import Photo
from serving.page.photos.thumbnails import make_thumbnail

_COLUMNS = [5, 6]  # widths of photo and text


def show_card(result: Result) -> None:
    """Draws the card of a photo that has an answer or an error."""
    caption, name = result.caption, f'<p class="imgcap-name">{html.escape(result.name)}</p>'
    with st.container(border=True):
        if not result.thumbnail:
            st.html(name)
            show_note(result.error)
            return
        left, right = st.columns(_COLUMNS)
        with left:
            alt = caption.text if caption else result.name
            st.image(result.thumbnail, alt=alt, width="stretch")
            st.html(name)
            if caption is not None and caption.attention:
                show_attention(result.thumbnail, caption)
        with right:
            if caption is None:
                show_note(result.error)
                return
            st.html(describe(caption))
            show_alt_text(result.thumbnail, caption)


def show_alt_text(thumbnail: bytes, caption: Caption) -> None:
    """Offers the alt text: ready to copy if the caption is sure, else as a draft to correct.

    Args:
        thumbnail: the photo.
        caption: its caption.
    """
    if is_sure(caption.confidence):
        st.html('<p class="imgcap-label">Ready-made alt text</p>')
        alt = escape_attribute(caption.text)
        st.code(f'alt="{alt}"', language="html", wrap_lines=True)
        return
    key = hashlib.sha256(thumbnail).hexdigest()
    label = "Draft of an alt text: compare it with the picture, and correct it"
    st.text_input(label, caption.text, key=f"draft {key} {caption.text}")


def show_waiting(photo: Photo) -> None:
    """Draws the card of a photo whose caption is not there yet."""
    with st.container(border=True):
        left, right = st.columns(_COLUMNS)
        thumbnail, _ = make_thumbnail(photo.image_bytes)
        with left:
            if thumbnail:
                st.image(thumbnail, alt=photo.name, width="stretch")
        with right:
            st.html(
                '<p class="imgcap-facts" role="status">Looking at the picture … '
                '<span class="imgcap-slow">It takes longer than usual; the server may be '
                "busy.</span></p>"
            )


@st.fragment
def show_attention(thumbnail: bytes, caption: Caption) -> None:
    """Draws a slider over the words, and the photo lit where the model looked for the chosen one.

    As a fragment, only this part of the page is drawn again when another word is chosen.

    Args:
        thumbnail: the photo.
        caption: a caption with attention.
    """
    numbered = [f"{number}. {word}" for number, (word, _) in enumerate(caption.attended, start=1)]
    key = hashlib.sha256(thumbnail).hexdigest()
    chosen = st.select_slider(
        "Where the model looks for the word", numbered, key=f"attention {key}"
    )
    word, weights = caption.attended[numbered.index(chosen)]
    alt = f"The photograph, bright where the model looks for “{word}”"
    st.image(draw_attention(thumbnail, weights), alt=alt, width="stretch")


@st.cache_data(max_entries=500, show_spinner=False)
def draw_attention(thumbnail: bytes, weights: tuple[float, ...]) -> bytes:
    """Makes a JPEG of a photo that is dark except where the weights are high.

    Args:
        thumbnail: the photo.
        weights: of L positions in a square grid, row by row, at least 0.
    """
    return encode_jpeg(shade(load_rgb(thumbnail), weights), SENT_QUALITY)


def describe(caption: Caption) -> str:
    """HTML of a caption: its tinted words, how far to trust it, facts, and the other captions."""
    trust = "" if caption.confidence is None else describe_confidence(caption.confidence)
    facts = (
        f"score {caption.score:.2f} · {1000 * caption.seconds:.0f} ms · model version "
        f"{caption.version}"
    )
    if caption.missing:
        facts += f" · the file is cut off: the lower {caption.missing:.0%} is missing"
    others = (
        f'<p class="imgcap-label">Also considered</p>{draw_bars(caption)}'
        if caption.alternatives[1:]
        else ""
    )
    return (
        f'<p class="imgcap-caption">{tint_words(caption)}</p>{trust}'
        f'<p class="imgcap-facts">{facts}</p>{others}'
    )


def tint_words(caption: Caption) -> str:
    """HTML of a caption's words: the less sure the model was of one, the more amber behind it."""
    spans: list[str] = []
    rest = caption.text
    for word, log_prob in caption.words:
        # Words of Chinese or Thai have no space between them.
        space, _, rest = rest.partition(word)
        spans.append(" " if space and spans else "")
        if log_prob is None:
            spans.append(html.escape(word))
            continue
        probability = min(1.0, math.exp(log_prob))
        colour = f"rgba(224, 160, 48, {0.55 * (1 - probability):.2f})"
        spans.append(
            f'<span style="background: {colour}" title="{probability:.0%} '
            f'sure">{html.escape(word)}</span>'
        )
    return "".join(spans) or "(no words)"


def draw_bars(caption: Caption) -> str:
    """HTML list of the other captions; a bar says how likely each is, relative to the best."""
    items = []
    for other in caption.alternatives[1:]:
        share = min(1.0, math.exp(other.score - caption.alternatives[0].score))
        items.append(
            f'<li title="score {other.score:.2f}">{html.escape(other.text)}<div class="bar" '
            f'style="width: {share:.0%}"></div></li>'
        )
    return f'<ul class="imgcap-beams">{"".join(items)}</ul>'
