"""The photographs of a visit: uploads, the camera or a sample, and their thumbnails."""

import hashlib
from typing import NamedTuple

import streamlit as st

from imgcap.data.pictures import SENT_QUALITY, encode_jpeg, load_rgb
from serving.client.images import SUFFIXES
from serving.page.messages import show_note
from serving.page.options import MAX_UPLOAD_MB
from serving.page.samples import choose_sample
from serving.page.settings import Settings

MAX_PHOTOS = 50
THUMBNAIL_SIDE = 900
"""Longer side of what the screen gets of a photo, in pixels. The server gets the original file."""


class Photo(NamedTuple):
    """An image on the page.

    Attributes:
        name: name of its file, as the visitor calls it.
        image_bytes: the whole file.
    """

    name: str
    image_bytes: bytes

    @property
    def digest(self) -> str:
        """A hash of the file, which tells photos apart whatever they are called."""
        return hashlib.sha256(self.image_bytes).hexdigest()


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


@st.cache_data(max_entries=2 * MAX_PHOTOS, show_spinner=False)
def make_thumbnail(image_bytes: bytes) -> tuple[bytes, str]:
    """Makes a photo small enough for the screen.

    Returns:
        A JPEG of what the model sees, and an empty text; or no bytes, and a plain sentence that
        says why the file can't be captioned.
    """
    megabytes = len(image_bytes) / 2**20
    if megabytes > MAX_UPLOAD_MB:
        return (
            b"",
            f"This file is too large: {megabytes:.0f} MB, and the limit is {MAX_UPLOAD_MB} MB.",
        )
    if not image_bytes:
        return b"", "This file is empty."
    try:
        # How much of a picture may be missing is the server's to say.
        picture = load_rgb(image_bytes, THUMBNAIL_SIDE, in_part=True)
        return encode_jpeg(picture, SENT_QUALITY), ""
    except ValueError as error:
        return b"", f"This file can’t be captioned: {error}."
