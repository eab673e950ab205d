"""Order of images by a hash of their names, which every machine computes alone and alike."""

import hashlib

BITS = 64
"""Bits of a position."""


def position(seed: int, image_id: str, salt: str = "") -> int:
    """Computes an image's place in an order that looks random and never depends on other images.

    Args:
        seed: another seed gives another order.
        image_id: the image's name.
        salt: tells orders of one seed apart, such as that of records and that of a drawn split.

    Returns:
        In [0, 2**64). Two images may share a position: order them by (position, image_id).
    """
    text = f"{salt}\0{seed}\0{image_id}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=BITS // 8).digest(), "big")
