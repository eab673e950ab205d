"""Photographs made small enough for the screen."""

import streamlit as st

from imgcap.data.pictures import SENT_QUALITY, encode_jpeg, load_rgb
from serving.page.options import MAX_PHOTOS, MAX_UPLOAD_MB

THUMBNAIL_SIDE = 900
"""Longer side of what the screen gets of a photo, in pixels. The server gets the original file."""


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
