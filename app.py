"""The page: photographs in, captions out. `streamlit run app.py`.

It asks a model server and never loads a model, so the process stays small. What a visitor uploads
is held in memory, for the visit, and goes nowhere but to that server. File names and captions come
from strangers: all of them pass `html.escape` or a text element on their way to the screen.
"""

import csv
import hashlib
import html
import io
import json
import math
import os
import random
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import streamlit as st

from imgcap import signature as contract
from imgcap.data.raw.drawn import draw_scene
from imgcap.errors import ServingError
from serving.client.answers import Caption
from serving.client.blocking import CaptionClient
from serving.client.connection import DEFAULT_TARGET, Tls
from serving.client.errors import (
    BadImage,
    DeadlineExceeded,
    ModelNotFound,
    Overloaded,
    ServerUnavailable,
    SignatureNotFound,
)
from serving.client.heatmap import shade
from serving.client.images import SUFFIXES, open_image, read_image, shrink

MAX_PHOTOS = 50
MAX_UPLOAD_MB = 20
THUMBNAIL_SIDE = 900  # pixels; what the screen gets of a photo. The server gets the original file.
HISTORY_LENGTH = 200
CONCURRENCY = 2
SAMPLES = 4

# Colours are mixed with whatever the theme has, so that light and dark both work.
STYLE = """<style>
.imgcap-name { font-size: .8rem; opacity: .65; margin: .35rem 0 0; overflow-wrap: anywhere; }
.imgcap-caption {
  font-size: 1.45rem; line-height: 1.5; font-weight: 500; margin: 0 0 .35rem;
  overflow-wrap: anywhere;
}
.imgcap-caption span { border-radius: .25rem; padding: .05rem .15rem; }
.imgcap-facts { font-size: .85rem; opacity: .7; margin: 0 0 1.2rem; }
ul.imgcap-beams { list-style: none; padding: 0 !important; margin: 0 0 1rem; font-size: .92rem; }
ul.imgcap-beams li { margin: 0 0 .5rem !important; padding: 0 !important; }
ul.imgcap-beams .bar { height: .3rem; border-radius: .15rem; background: #4a8fe7;
  margin-top: .15rem; }
.imgcap-label { font-size: .8rem; opacity: .65; margin: .6rem 0 .3rem; }
.imgcap-note {
  border-left: .25rem solid #e0a030; background: rgba(224, 160, 48, .12); padding: .7rem 1rem;
  border-radius: .25rem; margin: 0 0 .5rem; overflow-wrap: anywhere;
}
.imgcap-ready { font-size: .9rem; opacity: .8; margin: 0; }
.imgcap-ready::before {
  content: ""; display: inline-block; width: .6rem; height: .6rem; border-radius: 50%;
  background: #3aa66f;
  margin-right: .45rem;
}
.imgcap-away::before { background: #c9473d; }
/* Shown by the browser alone when an answer is slow; this process waits for it and could not. */
.imgcap-slow { visibility: hidden; animation: imgcap-show 0s 5s forwards; }
@keyframes imgcap-show { to { visibility: visible; } }
</style>"""


class Photo(NamedTuple):
    """An image on the page.

    Attributes:
        name: of its file, as the visitor calls it.
        image_bytes: the whole file.
    """

    name: str
    image_bytes: bytes

    @property
    def digest(self) -> str:
        """What tells photos apart, whatever they are called."""
        return hashlib.sha256(self.image_bytes).hexdigest()


class Settings(NamedTuple):
    """Whom the page asks; the arguments of its client."""

    target: str
    model: str
    version: str
    signature: str


class Result(NamedTuple):
    """What became of a photo.

    Attributes:
        name: of its file.
        thumbnail: a small JPEG of it, or the file itself where it is small; empty where it is no
            image.
        caption: the answer, or None.
        error: a plain sentence where there is none; else empty.
    """

    name: str
    thumbnail: bytes
    caption: Caption | None
    error: str


def main() -> None:
    """Draws the page; Streamlit calls this again at every click."""
    st.set_page_config(
        page_title="imgcap · captions for photographs", page_icon="🏞️", layout="centered"
    )
    st.html(STYLE)
    settings = choose_settings()
    st.title("What is in the picture?")
    st.text("Drop a photograph, and a neural network says in one sentence what it sees.")
    version = ready_version(settings)
    photos = choose_photos()
    if version:
        show_results(photos, settings, version)
    show_downloads()
    show_history(photos)


def choose_settings() -> Settings:
    """The sidebar."""
    with st.sidebar:
        st.subheader("Settings")
        target = st.text_input(
            "Model server", os.environ.get("IMGCAP_SERVER", DEFAULT_TARGET), key="server"
        )
        model = st.text_input("Model", contract.MODEL_NAME, key="model")
        version = st.text_input("Version or label", "", key="version", placeholder="newest")
        search = st.radio(
            "Search",
            ["Beam", "Greedy"],
            key="search",
            horizontal=True,
            help="Beam search weighs several captions; greedy takes the likeliest word and is "
            "faster.",
        )
    signature = contract.DECODE if search == "Beam" else contract.GREEDY
    return Settings(target.strip(), model.strip(), version.strip(), signature)


def choose_photos() -> list[Photo]:
    """Uploads, a picture from the camera, or a sample."""
    uploads = st.file_uploader(
        "Photographs",
        type=[suffix.removeprefix(".") for suffix in SUFFIXES],
        accept_multiple_files=True,
        max_upload_size=MAX_UPLOAD_MB,
        key="uploads",
    )
    photos = [Photo(upload.name, upload.getvalue()) for upload in uploads[:MAX_PHOTOS]]
    if len(uploads) > MAX_PHOTOS:
        note(f"{len(uploads)} photographs are too many at once: the first {MAX_PHOTOS} are taken.")
    if st.toggle("Use the camera", key="camera_on"):
        shot = st.camera_input("Take a photograph", label_visibility="collapsed", key="camera")
        photos += [Photo("camera.jpg", shot.getvalue())] if shot else []
    if not photos:
        photos = choose_sample()
    return list({photo.digest: photo for photo in photos}.values())


def choose_sample() -> list[Photo]:
    """A row of drawn scenes, each with a button."""
    st.html('<p class="imgcap-label">No photograph at hand? Choose one of these drawings:</p>')
    samples = draw_samples()
    columns = st.columns(len(samples), vertical_alignment="bottom")  # the drawings differ in height
    for column, (name, image_bytes) in zip(columns, samples.items(), strict=True):
        with column:
            st.image(image_bytes, alt=name, width="stretch")
            if st.button(name.capitalize(), key=f"sample {name}"):
                st.session_state.sample = name
    chosen = st.session_state.get("sample")
    return [Photo(f"{chosen}.png", samples[chosen])] if chosen in samples else []


def ready_version(settings: Settings) -> int:
    """The version that will answer; 0 where none does, and then the page says so and what to do."""
    problem, command, version = "", "", 0
    try:
        states = connect(
            settings, timeout=2.0
        ).status()  # a visitor should not wait to learn that nobody is there
        version = max((state.version for state in states if state.state == "AVAILABLE"), default=0)
        if not version:
            problem = f"The model “{settings.model}” is still loading. Try again in a moment."
    except (ServerUnavailable, DeadlineExceeded):
        problem, command = (
            f"No model server answers at {settings.target}. This starts one:",
            start_command(settings),
        )
    except ServingError as error:
        problem = sentence(error)
    with st.sidebar:
        state = "imgcap-ready imgcap-away" if problem else "imgcap-ready"
        said = "not ready" if problem else f"{settings.model} version {version} is ready"
        st.html(f'<p class="{state}">{html.escape(said)}</p>')
    if problem:
        note(problem)
        if command:
            st.code(command, language="bash")
        st.button("Try again", key="again")
    return version


def start_command(settings: Settings) -> str:
    """What to type to have a server at the address that was asked."""
    port = settings.target.rpartition(":")[2]
    flag = f" --port={port}" if port.isdecimal() and f":{port}" != DEFAULT_TARGET[-5:] else ""
    return f"imgcap-serve --model_base_path=MODELS/{settings.model}{flag}"


@st.cache_resource(max_entries=16, show_spinner=False)
def connect(settings: Settings, timeout: float) -> CaptionClient:
    """A client that all visits share: a channel is safe between threads and finds a restarted
    server.
    """
    number = int(settings.version) if settings.version.isdecimal() else None
    label = settings.version if settings.version and number is None else None
    authority = os.environ.get("IMGCAP_TLS_CA")
    return CaptionClient(
        settings.target,
        settings.model,
        number,
        label,
        settings.signature,
        timeout=timeout,
        tls=Tls(ca=authority) if authority else None,
    )


def show_results(photos: list[Photo], settings: Settings, version: int) -> None:
    """A card for each photo: at once where its caption is known, else as the answers come in."""
    slots = [(photo, st.empty()) for photo in photos]
    known = results()

    def key(photo: Photo) -> tuple:
        return (photo.digest, *settings, version)

    for photo, slot in slots:
        with slot.container():
            if key(photo) in known:
                show_card(known[key(photo)])
            else:
                show_waiting(photo)
    new = [(photo, slot) for photo, slot in slots if key(photo) not in known]
    progress = st.progress(0.0, "Captioning …") if len(new) > 1 else None
    answers = caption_photos([photo for photo, _ in new], settings)
    for done, ((photo, slot), (result, keep)) in enumerate(zip(new, answers, strict=True), start=1):
        if keep:
            known[key(photo)] = result
        with slot.container():
            show_card(result)
        if progress is not None:
            progress.progress(done / len(new), f"{done} of {len(new)}")
    if progress is not None:
        progress.empty()
    while len(known) > HISTORY_LENGTH:
        known.pop(next(iter(known)))


def caption_photos(photos: list[Photo], settings: Settings) -> Iterator[tuple[Result, bool]]:
    """Asks the server, several photos at a time.

    Yields:
        In order, what became of each, and whether asking again would give the same.
    """
    thumbnails = [make_thumbnail(photo.image_bytes) for photo in photos]
    good = [
        photo.image_bytes for photo, (_, error) in zip(photos, thumbnails, strict=True) if not error
    ]
    client = connect(settings, timeout=20.0)
    outcomes = client.caption_many(good, CONCURRENCY)
    for photo, (thumbnail, error) in zip(photos, thumbnails, strict=True):
        if error:
            yield Result(photo.name, b"", None, error), True
            continue
        outcome = next(outcomes)
        if outcome.error is None:
            yield Result(photo.name, thumbnail, outcome.caption, ""), True
        else:
            bad = isinstance(outcome.error, BadImage)
            yield Result(photo.name, thumbnail, None, sentence(outcome.error)), bad


@st.cache_data(max_entries=2 * MAX_PHOTOS, show_spinner=False)
def make_thumbnail(image_bytes: bytes) -> tuple[bytes, str]:
    """A photo for the screen, or a plain sentence why it is none."""
    megabytes = len(image_bytes) / 2**20
    if megabytes > MAX_UPLOAD_MB:
        return (
            b"",
            f"This file is too large: {megabytes:.0f} MB, and the limit is {MAX_UPLOAD_MB} MB.",
        )
    if not image_bytes:
        return b"", "This file is empty."
    try:
        return shrink(image_bytes, THUMBNAIL_SIDE), ""
    except ValueError as error:
        return b"", f"This file can’t be captioned: {error}."


def results() -> dict[tuple, Result]:
    """All results of this visit, oldest first: an image that was captioned once is not sent
    again.
    """
    return st.session_state.setdefault("results", {})


def show_card(result: Result) -> None:
    """A photo beside its caption, the runners-up, and the caption as alt text."""
    caption, name = result.caption, f'<p class="imgcap-name">{html.escape(result.name)}</p>'
    with st.container(border=True):
        if not result.thumbnail:
            st.html(name)
            note(result.error)
            return
        left, right = st.columns([5, 6])
        with left:
            st.image(
                result.thumbnail, alt=caption.text if caption else result.name, width="stretch"
            )
            st.html(name)
            if caption is not None and caption.attention:
                show_attention(result.thumbnail, caption)
        with right:
            if caption is None:
                note(result.error)
                return
            st.html(describe(caption))
            st.code(f'alt="{html.escape(caption.text)}"', language="html", wrap_lines=True)


@st.fragment
def show_attention(thumbnail: bytes, caption: Caption) -> None:
    """Where the model looked for each word; only this part of the page is drawn again for another
    word.

    Args:
        thumbnail: the photo.
        caption: with attention.
    """
    numbered = [f"{number}. {word}" for number, (word, _) in enumerate(caption.attended, start=1)]
    key = hashlib.sha256(thumbnail).hexdigest()
    chosen = st.select_slider(
        "Where the model looks for the word", numbered, key=f"attention {key}"
    )
    word, weights = caption.attended[numbered.index(chosen)]
    alt = f"The photograph, bright where the model looks for “{word}”"
    st.image(draw_attention(thumbnail, weights), alt=alt, width="stretch")


def show_waiting(photo: Photo) -> None:
    """A card whose caption is not there yet."""
    with st.container(border=True):
        left, right = st.columns([5, 6])
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


def show_downloads() -> None:
    """All captions of the visit as CSV and JSON."""
    captioned = [to_row(result) for result in results().values() if result.caption]
    if not captioned:
        return
    left, right, _ = st.columns([1, 1, 2])
    left.download_button("Download CSV", to_csv(captioned), "captions.csv", "text/csv")
    text = json.dumps(captioned, indent=2, ensure_ascii=False)
    right.download_button("Download JSON", text, "captions.json", "application/json")


def show_history(photos: list[Photo]) -> None:
    """What was captioned earlier in this visit and is not on the page now."""
    here = {photo.digest for photo in photos}
    earlier = [
        result
        for (digest, *_), result in results().items()
        if digest not in here and result.caption
    ]
    if not earlier:
        return
    with st.expander(f"Earlier in this visit ({len(earlier)})"):
        for result in reversed(earlier):
            left, right = st.columns([1, 4], vertical_alignment="center")
            with left:
                st.image(result.thumbnail, alt=result.caption.text, width="stretch")
            with right:
                st.text(result.caption.text)


def to_row(result: Result) -> dict[str, Any]:
    """A result as the downloads have it."""
    caption = result.caption
    return {
        "image": result.name,
        "caption": caption.text,
        "score": round(caption.score, 4),
        "model_version": caption.version,
        "seconds": round(caption.seconds, 4),
    }


def to_csv(rows: Iterable[dict[str, Any]]) -> str:
    """Rows as CSV. A text that a spreadsheet would take for a formula gets an apostrophe in
    front.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, ["image", "caption", "score", "model_version", "seconds"])
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _defused(value) for name, value in row.items()})
    return buffer.getvalue()


def _defused(value: Any) -> Any:
    return (
        f"'{value}"
        if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
        else value
    )


def note(text: str) -> None:
    """A plain sentence that something is not as it should be."""
    st.html(f'<p class="imgcap-note" role="alert">{html.escape(text)}</p>')


def tinted(caption: Caption) -> str:
    """The caption as HTML: the less sure a word, the more amber behind it."""
    spans = []
    for word, log_prob in caption.words:
        if log_prob is None:
            spans.append(html.escape(word))
            continue
        probability = min(1.0, math.exp(log_prob))
        colour = f"rgba(224, 160, 48, {0.55 * (1 - probability):.2f})"
        spans.append(
            f'<span style="background: {colour}" title="{probability:.0%} '
            f'sure">{html.escape(word)}</span>'
        )
    return " ".join(spans) or "(no words)"


def describe(caption: Caption) -> str:
    """All there is to say of a caption, as HTML."""
    facts = (
        f"score {caption.score:.2f} · {1000 * caption.seconds:.0f} ms · model version "
        f"{caption.version}"
    )
    others = (
        f'<p class="imgcap-label">Also considered</p>{bars(caption)}'
        if caption.alternatives[1:]
        else ""
    )
    return (
        f'<p class="imgcap-caption">{tinted(caption)}</p><p '
        f'class="imgcap-facts">{facts}</p>{others}<p class="imgcap-label">Ready-made alt text</p>'
    )


def bars(caption: Caption) -> str:
    """The other captions as an HTML list; a bar says how likely each is beside the best."""
    items = []
    for other in caption.alternatives[1:]:
        share = min(1.0, math.exp(other.score - caption.alternatives[0].score))
        items.append(
            f'<li title="score {other.score:.2f}">{html.escape(other.text)}<div class="bar" '
            f'style="width: {share:.0%}"></div></li>'
        )
    return f'<ul class="imgcap-beams">{"".join(items)}</ul>'


@st.cache_data(max_entries=500, show_spinner=False)
def draw_attention(thumbnail: bytes, weights: tuple[float, ...]) -> bytes:
    """A photo that is dark except where the weights are high, as `serving.client.heatmap.shade`
    draws it: a JPEG.
    """
    buffer = io.BytesIO()
    shade(open_image(thumbnail).convert("RGB"), weights).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def sentence(error: ServingError) -> str:
    """An error in words for a visitor, who has no command line."""
    if isinstance(error, BadImage):
        return f"This file can’t be captioned: {error}."
    if isinstance(error, DeadlineExceeded):
        return "The server takes too long for this one. Try again, or with a smaller photograph."
    if isinstance(error, Overloaded):
        return "The server is busy. Try again in a moment."
    if isinstance(error, ServerUnavailable):
        return "The server has gone away. Try again in a moment."
    if isinstance(error, SignatureNotFound):
        return "This model does not have that kind of search: choose the other one in the settings."
    if isinstance(error, ModelNotFound):
        return f"The server does not have that model: {error}."
    return f"The server could not do it: {error}."


@st.cache_data(show_spinner=False)
def draw_samples() -> dict[str, bytes]:
    """A few drawn scenes by name, so that the page can be tried without a photograph."""
    rng = random.Random(3)
    scenes = {
        scene.colour: scene for scene in (draw_scene(rng) for _ in range(50))
    }  # one of each colour
    chosen = list(scenes.values())[:SAMPLES]
    return {f"{scene.colour} {scene.shape}": read_image(scene.picture) for scene in chosen}


if __name__ == "__main__":
    main()
