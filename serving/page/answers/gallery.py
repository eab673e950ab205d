"""Many photos at once: a grid of cells of one size, filtered and sorted; details on demand."""

import html
from collections import Counter

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from serving.page.announcer import show_progress
from serving.page.answers.details import show_result
from serving.page.answers.markup import data_uri, describe_trust
from serving.page.answers.results import Result, Visit
from serving.page.photos.photo import Photo

ALL, CHECK, SURE, FAILED = "All", "To check", "Sure", "Failed"
AS_GIVEN, LEAST_SURE, BY_NAME = "As given", "Least sure first", "By name"


class Gallery:
    """The photos on the page as a grid, which answers fill as they come."""

    def __init__(self, visit: Visit, known: dict[Photo, Result | None], waits: bool) -> None:
        """Draws the grid.

        Args:
            visit: whose photos.
            known: the photos in the order given, each with its answer or None.
            waits: whether a server was asked for those without.
        """
        self._visit, self._known, self._waits = visit, known, waits
        self._numbers = {photo: number for number, photo in enumerate(known, start=1)}
        self._shown, order = self._choose()
        self._progress = st.empty()
        self._show_progress()
        self._grid = st.container(key="gallery")
        self._slots: dict[Photo, DeltaGenerator] = {}
        self._places: list[DeltaGenerator] = []
        shown = [photo for photo in sort_photos(known, order) if self._is_shown(photo)]
        for photo in shown:
            self._draw(photo)
        # A place for each other photo: what another filter had shown there goes at once.
        self._places = [self._grid.empty() for _ in range(len(known) - len(shown))]

    def update(self, photo: Photo, result: Result) -> None:
        """Draws an answer that has come."""
        self._known[photo] = result
        self._show_progress()
        if photo in self._slots or self._is_shown(photo):
            self._draw(photo)

    def _choose(self) -> tuple[str, str]:
        """Draws filter and order, and returns what is chosen."""
        counts = Counter(self._state(photo) for photo in self._known)
        counts[ALL] = len(self._known)
        complete = None not in self._known.values()  # else the numbers would soon be wrong
        with st.container(key="gallery-controls", horizontal=True, vertical_alignment="bottom"):
            shown = st.segmented_control(
                "Show",
                [ALL, CHECK, SURE, FAILED],
                default=ALL,
                required=True,
                format_func=lambda state: f"{state} ({counts[state]})" if complete else state,
                key="show",
            )
            order = st.selectbox("Sort", [AS_GIVEN, LEAST_SURE, BY_NAME], key="order", width=200)
        return shown or ALL, order or AS_GIVEN

    def _state(self, photo: Photo) -> str:
        """The filter that shows a photo; empty while it waits."""
        result = self._known[photo]
        if result is None:
            return ""
        if result.caption is None:
            return FAILED
        return SURE if self._visit.is_ready(photo, result.caption) else CHECK

    def _is_shown(self, photo: Photo) -> bool:
        return self._shown in (ALL, self._state(photo))

    def _draw(self, photo: Photo) -> None:
        """Draws a photo's cell, with or without its answer."""
        result = self._known[photo]
        if photo not in self._slots:
            place = self._places.pop(0) if self._places else self._grid
            cell = place.container(key=f"cell-{self._numbers[photo]}")
            # An empty place first would take a known answer's button, and the focus, off the page.
            self._slots[photo] = cell if result is not None else cell.empty()
        with self._slots[photo].container():
            if result is None:
                _show_placeholder(photo, self._waits)
            else:
                show_cell(self._visit, photo, result, f"Details {self._numbers[photo]}")

    def _show_progress(self) -> None:
        """Says how many photos are answered."""
        done = sum(result is not None for result in self._known.values())
        text = f"{done} of {len(self._known)} captioned"
        if done == len(self._known):
            counts = Counter(self._state(photo) for photo in self._known)
            parts = [f"{counts[state]} {state.lower()}" for state in (SURE, CHECK, FAILED)]
            text = f"{done} photographs: {', '.join(parts)}"
        elif not self._waits:
            text = f"{len(self._known) - done} photographs wait for a model server"
        show_progress(self._progress, text)


def sort_photos(known: dict[Photo, Result | None], order: str) -> list[Photo]:
    """Puts photos in an order; those without an answer keep theirs, at the end.

    Args:
        known: photos in the order given, each with its answer or None.
        order: `AS_GIVEN`, `LEAST_SURE` or `BY_NAME`.
    """
    if order == BY_NAME:
        return sorted(known, key=lambda photo: photo.name.casefold())
    if order == LEAST_SURE:
        return sorted(known, key=lambda photo: _confidence(known[photo]))
    return list(known)


def show_cell(visit: Visit, photo: Photo, result: Result, label: str) -> None:
    """Draws a cell of a grid: picture, caption, confidence, name, and a button for the details.

    Args:
        visit: whose photo.
        photo: the photo.
        result: its answer.
        label: of the button; no other button may have the same.
    """
    text, badge, mark = result.error, _badge("imgcap-failed", "failed"), ""
    if result.caption is not None:
        text = visit.alt_text(photo, result.caption)
        confidence = result.caption.confidence
        badge = "" if confidence is None else _badge(*describe_trust(confidence))
        if photo.digest in visit.edits:
            edited = visit.is_edited(photo, result.caption)
            mark = f'<span class="imgcap-edited">{"edited" if edited else "checked"}</span>'
    st.html(_cell(draw_thumbnail(result, text), text, badge + mark, photo.name))
    st.button(label, key=f"details {photo.digest}", on_click=visit.open, args=(photo, result))


@st.dialog("Details", on_dismiss="rerun")
def show_details(visit: Visit, photo: Photo, result: Result) -> None:
    """Opens one photo's card and alternative text over the page."""
    show_result(visit, photo, result)


def show_earlier(visit: Visit) -> None:
    """Lists what was captioned earlier in this visit and is not on the page now."""
    earlier = [
        (photo, result) for photo, result in visit.captioned().items() if photo not in visit.photos
    ]
    if not earlier:
        return
    with (
        st.expander(f"Earlier in this visit ({len(earlier)})"),
        st.container(key="earlier"),
    ):
        for number, (photo, result) in enumerate(reversed(earlier), start=1):
            with st.container(key=f"cell-earlier-{number}"):
                show_cell(visit, photo, result, f"Details of earlier {number}")


def draw_thumbnail(result: Result, alt: str) -> str:
    """HTML of a photo, small; empty if there is no picture of it.

    Args:
        result: its answer.
        alt: its alternative text.
    """
    if result.thumbnails is None:
        return ""
    return f'<img alt="{html.escape(alt)}" src="{data_uri(result.thumbnails.cell, "jpeg")}">'


def _badge(kind: str, words: str, number: str = "") -> str:
    """HTML of what became of a photo: a class of the style, words, and a number as tooltip."""
    title = f' title="{number}"' if number else ""
    return f'<span class="imgcap-badge {kind}"{title}>{words}</span>'


def _show_placeholder(photo: Photo, waits: bool) -> None:
    """Draws a cell as large as it will be."""
    text = "Looking at the picture …" if waits else "Waiting"
    st.html(_cell("", text, "", photo.name, " imgcap-waiting"))


def _cell(picture: str, text: str, badge: str, name: str, extra: str = "") -> str:
    """HTML of a cell.

    Args:
        picture: HTML; empty for none.
        text: the caption, or a sentence in its place.
        badge: HTML.
        name: of the photo.
        extra: class of the cell.
    """
    return (
        f'<div class="imgcap-cell{extra}"><div class="imgcap-cell-picture">{picture}</div>'
        f'<p class="imgcap-cell-text" dir="auto">{html.escape(text) or "(no words)"}</p>'
        f'<p class="imgcap-cell-badge">{badge}</p>'
        f'<p class="imgcap-cell-name"><bdi>{html.escape(name)}</bdi></p></div>'
    )


def _confidence(result: Result | None) -> float:
    """For sorting: failures first, then the least sure; what waits comes last."""
    if result is None:
        return 3.0
    if result.caption is None:
        return -1.0
    return 2.0 if result.caption.confidence is None else result.caption.confidence
