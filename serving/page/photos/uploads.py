"""The ways to give a photograph: files, a folder, an archive or the camera."""

from collections.abc import Callable

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile

from serving.client.images import SUFFIXES
from serving.page.messages import show_note
from serving.page.options import MAX_ARCHIVE_MB, MAX_PHOTO_MB, MAX_PHOTOS
from serving.page.photos.intake import Intake, take_in
from serving.page.photos.photo import file_of

_TYPES = [suffix.removeprefix(".") for suffix in SUFFIXES]
_SHOWN_REFUSALS = 5


def show_uploader(take: Callable[[Intake], None]) -> None:
    """Draws the uploader and the choices beside it.

    What is uploaded leaves Streamlit's own store at once, and the uploader is drawn empty again:
    else each file would be held there for as long as the visit lasts.

    Args:
        take: gets what was given, before the page is drawn.
    """
    number = st.session_state.setdefault("uploader", 0)
    whole_folder = st.session_state.get("folder_on", False)
    key = f"uploads {number}"
    st.file_uploader(
        "A folder of photographs" if whole_folder else "Photographs, or a zip archive of them",
        type=_TYPES if whole_folder else [*_TYPES, "zip"],
        accept_multiple_files="directory" if whole_folder else True,
        max_upload_size=MAX_PHOTO_MB if whole_folder else MAX_ARCHIVE_MB,
        help=f"Up to {MAX_PHOTOS} photographs of {MAX_PHOTO_MB} MB each.",
        key=key,
        on_change=_empty_into,
        args=(key, take),
    )
    with st.container(horizontal=True):
        st.toggle("A whole folder", key="folder_on")
        camera = st.toggle("Use the camera", key="camera_on")
    if camera:
        key = f"camera {number}"
        st.camera_input(
            "Take a photograph",
            label_visibility="collapsed",
            key=key,
            on_change=_empty_into,
            args=(key, take),
        )


def show_refused(refused: list[str]) -> None:
    """Says which files were not taken, the first few of them one by one.

    Args:
        refused: plain sentences.
    """
    for sentence in refused[:_SHOWN_REFUSALS]:
        show_note(sentence)
    more = len(refused) - _SHOWN_REFUSALS
    if more > 0:
        show_note(f"And {more} more like that.")


def _empty_into(key: str, take: Callable[[Intake], None]) -> None:
    """Hands over what a widget holds, takes it out of Streamlit's store, and renews the widget."""
    given = st.session_state[key] or []
    # If a click ends the run before the browser has the new widget, it sends the old one's value
    # again: files that are gone.
    uploads = [
        upload
        for upload in (given if isinstance(given, list) else [given])
        if isinstance(upload, UploadedFile)
    ]
    if not uploads:
        return
    take(take_in([file_of(upload.name, upload.getvalue()) for upload in uploads]))
    context = get_script_run_ctx()
    # The store's interface has no such method, other stores than Streamlit's own may lack it.
    remove = getattr(context.uploaded_file_mgr, "remove_file", None) if context else None
    if context is not None and remove is not None:
        for upload in uploads:
            remove(session_id=context.session_id, file_id=upload.file_id)
    st.session_state.uploader += 1
