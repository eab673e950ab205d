"""The ways to give a photograph: an upload, the camera or a sample."""

import streamlit as st

from serving.client.images import SUFFIXES
from serving.page.messages import show_note
from serving.page.options import MAX_PHOTOS, MAX_UPLOAD_MB
from serving.page.photos.photo import Photo
from serving.page.photos.samples import choose_sample
from serving.page.settings import Settings


def choose_photos(settings: Settings, version: int) -> list[Photo]:
    """Draws the ways to give a photo, and returns what was given, each image once.

    Args:
        settings: which model is asked.
        version: the model's version that answers; 0 if none does.
    """
    uploads = st.file_uploader(
        "Photographs",
        type=[suffix.removeprefix(".") for suffix in SUFFIXES],
        accept_multiple_files=True,
        max_upload_size=MAX_UPLOAD_MB,
        key="uploads",
    )
    photos = [Photo(upload.name, upload.getvalue()) for upload in uploads[:MAX_PHOTOS]]
    if len(uploads) > MAX_PHOTOS:
        show_note(
            f"{len(uploads)} photographs are too many at once: the first {MAX_PHOTOS} are taken."
        )
    if st.toggle("Use the camera", key="camera_on"):
        shot = st.camera_input("Take a photograph", label_visibility="collapsed", key="camera")
        photos += [Photo("camera.jpg", shot.getvalue())] if shot else []
    if not photos:
        sample = choose_sample(settings, version)
        photos = [Photo(*sample)] if sample else []
    return list({photo.digest: photo for photo in photos}.values())
