"""Drawn scenes to try the page with, for visitors without a photograph at hand."""

import random

import streamlit as st

from imgcap.data.raw.drawn import draw_scene
from serving.client.images import read_image

SAMPLES = 4


def choose_sample() -> tuple[str, bytes] | None:
    """Draws a row of scenes, each with a button.

    Returns:
        File name and file of the one that was chosen last; None before any was.
    """
    st.html('<p class="imgcap-label">No photograph at hand? Choose one of these drawings:</p>')
    samples = draw_samples()
    columns = st.columns(len(samples), vertical_alignment="bottom")  # the drawings differ in height
    for column, (name, image_bytes) in zip(columns, samples.items(), strict=True):
        with column:
            st.image(image_bytes, alt=name, width="stretch")
            if st.button(name.capitalize(), key=f"sample {name}"):
                st.session_state.sample = name
    chosen = st.session_state.get("sample")
    return (f"{chosen}.png", samples[chosen]) if chosen in samples else None


@st.cache_data(show_spinner=False)
def draw_samples() -> dict[str, bytes]:
    """Draws a few scenes, each of another colour: PNG files by name, such as "red circle"."""
    rng = random.Random(3)
    by_colour = {scene.colour: scene for scene in (draw_scene(rng) for _ in range(50))}
    chosen = list(by_colour.values())[:SAMPLES]
    return {f"{scene.colour} {scene.shape}": read_image(scene.picture) for scene in chosen}
