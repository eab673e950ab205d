"""Photographs made small: what is kept of them once they are captioned."""

import io
from typing import NamedTuple

from PIL import Image

from imgcap.data.pictures import SENT_QUALITY, encode_jpeg, load_rgb

CARD_SIDE = 800
"""Longer side of a photo on its card, in pixels. The server gets the original file."""

CELL_SIDE = 320
"""Longer side of a photo in the gallery and the downloads, in pixels."""

_CELL_QUALITY = 80


class Thumbnails(NamedTuple):
    """What is kept of a photo.

    Attributes:
        card: a JPEG for its card.
        cell: a smaller JPEG for the gallery.
        sent_again: the file to send if it is to be captioned anew: the original if that is no
            larger than `card`, else `card`.
    """

    card: bytes
    cell: bytes
    sent_again: bytes


def make_thumbnails(image_bytes: bytes) -> Thumbnails:
    """Makes a photo small enough to keep.

    Args:
        image_bytes: its file.

    Raises:
        ValueError: the file is no image or too large a one; the text says which.
    """
    # How much of a picture may be missing is the server's to say.
    picture = load_rgb(image_bytes, CARD_SIDE, in_part=True)
    card = encode_jpeg(picture, SENT_QUALITY)
    picture.thumbnail((CELL_SIDE, CELL_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_CELL_QUALITY)
    return Thumbnails(
        card, buffer.getvalue(), image_bytes if len(image_bytes) <= len(card) else card
    )
