"""Pictures made smaller: for the way to a server, and for the screen."""

import io

from PIL import Image

from imgcap.data.pictures.headers import has_jpeg_end
from imgcap.data.pictures.opening import decode_opened, open_picture

SENT_QUALITY = 95
"""JPEG quality of what a server gets. With full colour resolution, a photo of 512 pixels that was
shrunk to 448 reaches an encoder of 224 with 0.7 levels of difference; 0.9 with halved colour.
"""


def shrink(image_bytes: bytes, max_side: int) -> bytes:
    """Makes a picture upright and its longer side at most `max_side` pixels.

    Args:
        image_bytes: an encoded image; the first frame of an animation is taken.
        max_side: pixels of the longer side.

    Returns:
        A JPEG, or the bytes as they came if there is nothing to shrink. A JPEG without its end
        marker stays what it is too: how much may be missing is the server's to say.

    Raises:
        ValueError: not an image, broken, or above `MAX_PIXELS`.
    """
    image = open_picture(image_bytes)
    cut_off = image.format in ("JPEG", "MPO") and not has_jpeg_end(image_bytes)
    if max(image.size) <= max_side or cut_off:
        return image_bytes
    return encode_jpeg(decode_opened(image, image_bytes, max_side), SENT_QUALITY)


def encode_jpeg(image: Image.Image, quality: int) -> bytes:
    """Encodes an RGB image as JPEG, in full colour resolution.

    Args:
        image: any RGB image.
        quality: of the JPEG, 1 to 95.
    """
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()
