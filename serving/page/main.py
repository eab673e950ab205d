"""The whole page from top to bottom."""

from pathlib import Path

import streamlit as st

from serving.page.answers.captioning import show_results
from serving.page.answers.downloads import show_downloads
from serving.page.answers.results import show_history
from serving.page.photos.uploads import choose_photos
from serving.page.settings import choose_settings, find_version

STYLE = Path(__file__).with_name("style.css")


def main() -> None:
    """Draws the page; Streamlit calls this again at every click."""
    st.set_page_config(
        page_title="imgcap · captions for photographs",
        page_icon="🏞️",
        layout="centered",
        # An open one pushes the page aside once it comes: a layout shift of 0.23.
        initial_sidebar_state="collapsed",
    )
    st.html(STYLE)
    settings = choose_settings()
    st.title("What is in the picture?", anchor=False)
    st.text("Drop a photograph, and a neural network says in one sentence what it sees.")
    version = find_version(settings)
    photos = choose_photos(settings, version)
    if version:
        show_results(photos, settings, version)
    show_downloads()
    show_history(photos)
