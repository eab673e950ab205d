"""The whole page from top to bottom."""

from pathlib import Path

import streamlit as st

from imgcap.host.memory import MemoryTrimmer
from serving.page.announcer import start_announcer
from serving.page.answers.captioning import show_answers
from serving.page.answers.downloads import show_downloads
from serving.page.answers.gallery import show_details, show_earlier
from serving.page.answers.results import find_visit
from serving.page.photos.samples import show_samples
from serving.page.photos.uploads import show_refused, show_uploader
from serving.page.settings import choose_settings, find_version

STYLE = Path(__file__).with_name("style.css")


@st.cache_resource(show_spinner=False)
def start_trimmer() -> MemoryTrimmer:
    """Has the memory of uploads given back to the system, once a process."""
    trimmer = MemoryTrimmer()
    trimmer.start()
    return trimmer


def main() -> None:
    """Draws the page; Streamlit calls this again at every click."""
    st.set_page_config(
        page_title="imgcap · captions for photographs",
        page_icon="🏞️",
        layout="centered",
        # An open one pushes the page aside once it comes: a layout shift of 0.23.
        initial_sidebar_state="collapsed",
    )
    start_trimmer()
    st.html(STYLE)
    visit = find_visit()
    settings = choose_settings()
    # Streamlit draws a grey bar until it has a component's code; below it all would jump up again.
    with st.container(height=1, border=False):
        start_announcer()
    st.title("What is in the picture?", anchor=False)
    st.text("Drop a photograph, and a neural network says in one sentence what it sees.")
    version = find_version(settings)
    show_uploader(visit.take)
    show_refused(visit.refused)
    opened = visit.pop_opened()
    if opened is not None:
        show_details(visit, *opened)
    show_answers(visit, settings, version, wait_for_all=opened is None)
    show_samples(settings, version, visit.take, small=bool(visit.photos))
    show_downloads(visit)
    show_earlier(visit)
