"""The card of an answer as HTML, without JavaScript: its words choose what the picture shows.

Strangers write names and captions, so all text passes `html.escape`; style.css has the looks.
"""

import base64
import hashlib
import html
import math

from imgcap.config.confidence import confidence_level
from imgcap.data.pictures import blend_level, draw_overlay, open_picture
from serving.client import Caption
from serving.client.confidence import confidence_in_words
from serving.client.heatmap import LESS, MOST, describe_place, most_peaked

LESS_SURE, GUESSED = 0.3, 0.15
"""Probabilities of a word below which it gets a dotted, and a wavy underline: about a fifth and a
twentieth of the words of a captioner trained on Flickr8k.
"""

_LEGEND_STEPS = 9


def card_html(
    key: str, name: str, thumbnail: bytes, caption: Caption | None, error: str = ""
) -> str:
    """HTML of one photo's card: the caption, how far to trust it, the photo, and details.

    If the model says where it looked, the words are radio buttons, and the photo is coloured where
    the model looked for the chosen one; the card opens on the word with the most peaked attention.

    Args:
        key: tells this card from all others on the page: ids and the names of radio buttons are
            made of its hash.
        name: of the photo's file, as the visitor calls it.
        thumbnail: a JPEG of the photo, upright; empty if the file is no image.
        caption: the answer, or None.
        error: a plain sentence if there is no caption; else empty.

    Returns:
        One `<article class="imgcap-card">`.
    """
    card = "imgcap-" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    label = f'<p class="imgcap-name"><bdi>{html.escape(name)}</bdi></p>'
    if caption is None:
        note = f'<p class="imgcap-note" role="alert">{html.escape(error)}</p>'
        parts = [note, _figure(thumbnail, f"The photograph {name}", [], label)]
    else:
        looks = _looks(card, caption) if thumbnail else []
        overlays = [draw_overlay(weights) for _, weights in caption.attended] if looks else []
        legend = f'<div class="imgcap-looks">{"".join(looks)}</div>{_legend()}' if looks else ""
        parts = [
            _radio_words(card, caption) if looks else _plain_words(caption),
            _key(caption),
            trust_html(caption.confidence),
            _missing(caption.missing),
            _figure(thumbnail, caption.text, overlays, legend + label + _details(caption)),
        ]
    return (
        f'<article class="imgcap-card" id="{card}" aria-label="{html.escape(name)}">'
        f"{''.join(parts)}</article>"
    )


def trust_html(confidence: float | None) -> str:
    """HTML of how far to trust a caption, in words that open to the number; empty for None.

    Args:
        confidence: in [0, 1].
    """
    if confidence is None:
        return ""
    kind, words, number = describe_trust(confidence)
    return (
        f'<details class="imgcap-trust {kind}"><summary title="{number}">'
        f"{html.escape(words)}</summary><p>{number}</p></details>"
    )


def describe_trust(confidence: float) -> tuple[str, str, str]:
    """How far to trust a caption: the style's class, in words, and as a number.

    Args:
        confidence: in [0, 1].
    """
    return (
        f"imgcap-{confidence_level(confidence).replace(' ', '-')}",
        confidence_in_words(confidence),
        f"{confidence:.0%} likely to be as good as a person’s",
    )


def draw_bars(caption: Caption) -> str:
    """HTML list of the other captions; a bar says how likely each is, relative to the best."""
    items = []
    for other in caption.alternatives[1:]:
        share = _share(other.score - caption.alternatives[0].score)
        items.append(
            f'<li><span dir="auto">{html.escape(other.text)}</span> <small>score {other.score:.2f}'
            f'</small><div class="bar" style="width: {share:.0%}"></div></li>'
        )
    return f'<ul class="imgcap-beams">{"".join(items)}</ul>'


def _looks(card: str, caption: Caption) -> list[str]:
    """For each word a line that says where the model looked; empty if it does not say so."""
    attended, words = caption.attended, caption.words
    if not attended or len(attended) != len(words):
        return []
    lines = []
    for index, ((word, weights), (_, log_prob)) in enumerate(zip(attended, words, strict=True)):
        try:
            place = describe_place(weights)
        except ValueError:  # no square grid: nobody knows which position is where
            return []
        sure = "" if log_prob is None else f" · {_percent(log_prob)} sure"
        lines.append(
            f'<p class="imgcap-look imgcap-at-{index}" id="{card}-{index}">'
            f"<bdi>{html.escape(word)}</bdi>: looked {place}{sure}</p>"
        )
    return lines


def _radio_words(card: str, caption: Caption) -> str:
    """The words as radio buttons, and the rule that shows what belongs to the chosen one."""
    chosen = most_peaked(caption.attended)
    labels = [
        f'{space}<label class="imgcap-word"><input type="radio" name="{card}" value="{index}" '
        f'aria-describedby="{card}-{index}"{" checked" * (index == chosen)}>{word}</label>'
        for index, (space, word) in enumerate(_words(caption))
    ]
    rules = ",".join(
        f'#{card}:has(input[value="{index}"]:checked) .imgcap-at-{index}'
        for index in range(len(labels))
    )
    return (
        f"<style>{rules}{{visibility:visible;opacity:1}}</style>"
        '<fieldset class="imgcap-words"><legend>Tap a word: where the model looked</legend>'
        f'<div class="imgcap-caption" dir="auto">{"".join(labels)}</div></fieldset>'
    )


def _plain_words(caption: Caption) -> str:
    """The words as a paragraph."""
    words = "".join(space + word for space, word in _words(caption)) or "(no words)"
    return f'<p class="imgcap-caption" dir="auto">{words}</p>'


def _words(caption: Caption) -> list[tuple[str, str]]:
    """HTML of each word, marked if the model was not sure of it, and the space before it."""
    words: list[tuple[str, str]] = []
    rest = caption.text
    for word, log_prob in caption.words:
        # Words of Chinese or Thai have no space between them.
        space, _, rest = rest.partition(word)
        text = html.escape(word)
        if log_prob is not None:
            mark = _mark(log_prob)
            style = f' class="{mark}"' if mark else ""
            text = f'<span{style} title="{_percent(log_prob)} sure">{text}</span>'
        words.append((" " if space and words else "", text))
    return words


def _key(caption: Caption) -> str:
    """One line that says what the underlines mean; empty if there are none."""
    found = {_mark(log_prob) for _, log_prob in caption.words if log_prob is not None}
    texts = {
        "imgcap-less-sure": f"under {LESS_SURE:.0%} sure",
        "imgcap-guessed": f"under {GUESSED:.0%} sure",
    }
    parts = [f'<span class="{mark}">{text}</span>' for mark, text in texts.items() if mark in found]
    return f'<p class="imgcap-key">Underlined: {" · ".join(parts)}</p>' if parts else ""


def _mark(log_prob: float) -> str:
    """The class of a word of this log-probability; empty if the model was sure of it."""
    probability = _share(log_prob)
    if probability < GUESSED:
        return "imgcap-guessed"
    return "imgcap-less-sure" if probability < LESS_SURE else ""


def _percent(log_prob: float) -> str:
    return f"{_share(log_prob):.0%}"


def _share(logarithm: float) -> float:
    """A number of which a server sent the logarithm; 1 if that is above 0, which none should be."""
    return math.exp(min(0.0, logarithm))


def _missing(missing: float) -> str:
    """A sentence if the file is cut off: what the model saw is not the whole picture."""
    if not missing:
        return ""
    return f'<p class="imgcap-missing">The file is cut off: the lower {missing:.0%} is missing.</p>'


def _figure(thumbnail: bytes, alt: str, overlays: list[bytes], text: str) -> str:
    """The photo under its overlays, and the text that belongs to it.

    Args:
        thumbnail: a JPEG; empty gives the text alone.
        alt: the photo's alternative text.
        overlays: a PNG a word.
        text: HTML.
    """
    if not thumbnail:
        return text
    width, height = open_picture(thumbnail).size
    layers = "".join(
        f'<img class="imgcap-overlay imgcap-at-{index}" alt="" src="{data_uri(png, "png")}">'
        for index, png in enumerate(overlays)
    )
    return (
        f'<figure class="imgcap-figure"><div class="imgcap-frame" style="--width: {width}; '
        f'--height: {height}"><img class="imgcap-photo" alt="{html.escape(alt)}" width="{width}" '
        f'height="{height}" src="{data_uri(thumbnail, "jpeg")}">{layers}</div>'
        f"<figcaption>{text}</figcaption></figure>"
    )


def _legend() -> str:
    """What the colours of the overlay mean."""
    steps = [blend_level(step / (_LEGEND_STEPS - 1)) for step in range(_LEGEND_STEPS)]
    colours = ",".join(f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in steps)
    return (
        f'<p class="imgcap-legend">{LESS} <span style="background: linear-gradient(to right, '
        f'{colours})"></span> {MOST}</p>'
    )


def _details(caption: Caption) -> str:
    """What only some want to know: numbers, and the runners-up."""
    facts = (
        f"score {caption.score:.2f} · {1000 * caption.seconds:.0f} ms · model version "
        f"{caption.version}"
    )
    others = (
        f'<p class="imgcap-label">Also considered</p>{draw_bars(caption)}'
        if caption.alternatives[1:]
        else ""
    )
    return (
        f'<details class="imgcap-more"><summary>Details</summary><p class="imgcap-facts">{facts}'
        f"</p>{others}</details>"
    )


def data_uri(image_bytes: bytes, kind: str) -> str:
    """A picture as the address of an image.

    Args:
        image_bytes: its file.
        kind: "jpeg" or "png".
    """
    return f"data:image/{kind};base64,{base64.b64encode(image_bytes).decode()}"
