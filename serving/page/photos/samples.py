"""Samples to try the page with, for visitors without a photograph at hand.

They are of the kind that the model was trained on: photographs, or the drawings of the demo.
"""

import random
from collections.abc import Callable

import streamlit as st

from imgcap.data.raw.drawn import draw_scene
from imgcap.data.samples import find_samples
from imgcap.errors import ServingError
from serving.client import SignatureNotFound
from serving.client.images import read_image
from serving.page.photos.intake import Intake, take_in
from serving.page.photos.photo import file_of
from serving.page.settings import STATUS_SECONDS, Settings, connect

DRAWINGS = 4
_WIDTH = 104  # pixels: six of them fill a row, three that of a phone


def show_samples(
    settings: Settings, version: int, take: Callable[[Intake], None], small: bool
) -> None:
    """Draws a row of samples, each with a button.

    Args:
        settings: which model is asked.
        version: the model's version that answers; 0 if none does.
        take: gets the sample that is chosen, before the page is drawn.
        small: whether the row is folded away, since there is an answer to look at.
    """
    drawings = bool(version) and _captions_drawings(settings, version)
    kind, suffix = ("drawings", ".png") if drawings else ("photographs", ".jpg")
    samples = draw_samples() if drawings else load_samples()
    place = st.expander(f"Or choose one of these {kind}") if small else st.container()
    if not small:
        place.html(
            f'<p class="imgcap-label">No photograph at hand? Choose one of these {kind}:</p>'
        )
    with place.container(key="samples", horizontal=True):
        for name, image_bytes in samples.items():
            with st.container(key=f"sample-{name.replace(' ', '-')}", width=_WIDTH):
                st.image(image_bytes, alt=name, width="stretch")
                st.button(
                    name.capitalize(),
                    key=f"sample {name}",
                    width="stretch",
                    on_click=_give,
                    args=(take, f"{name}{suffix}", image_bytes),
                )


def _give(take: Callable[[Intake], None], name: str, image_bytes: bytes) -> None:
    take(take_in([file_of(name, image_bytes)]))


@st.cache_data(show_spinner=False)
def draw_samples() -> dict[str, bytes]:
    """Draws a few scenes, each of another colour: PNG files by name, such as "red circle"."""
    rng = random.Random(3)
    by_colour = {scene.colour: scene for scene in (draw_scene(rng) for _ in range(50))}
    chosen = list(by_colour.values())[:DRAWINGS]
    return {f"{scene.colour} {scene.shape}": read_image(scene.picture) for scene in chosen}


@st.cache_data(show_spinner=False)
def load_samples() -> dict[str, bytes]:
    """Reads the sample photographs: JPEG files by name, such as "cat"."""
    return {name: path.read_bytes() for name, path in find_samples().items()}


def _captions_drawings(settings: Settings, version: int) -> bool:
    """Whether the model's card says drawings; what can't be learnt counts as photographs."""
    try:
        return _card_says_drawings(settings, version)
    except ServingError:
        return False


@st.cache_data(max_entries=16, show_spinner=False)
def _card_says_drawings(settings: Settings, version: int) -> bool:
    """Reads the card, once a version; an error is not kept, so the next run asks again."""
    del version  # Part of the cache's key: the newest version is another one tomorrow.
    try:
        card = connect(settings, timeout=STATUS_SECONDS).describe()
    except SignatureNotFound:  # An older export without a card.
        return False
    return (card.get("data") or {}).get("pictures") == "drawings"
