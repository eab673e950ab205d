"""Image bytes to pixels, and augmentation: the only image code of the package."""

from imgcap.data.image.decoding import (
    DAMAGED,
    MAX_SCANS,
    NOT_AN_IMAGE,
    PARALLEL_ROWS,
    TOO_MANY_SCANS,
    UNSUPPORTED_BMP,
    DecodedImages,
    Inspection,
    check,
    decode,
    decode_rows,
    inspect,
    random_crop,
    random_flip,
)

__all__ = [
    "DAMAGED",
    "MAX_SCANS",
    "NOT_AN_IMAGE",
    "PARALLEL_ROWS",
    "TOO_MANY_SCANS",
    "UNSUPPORTED_BMP",
    "DecodedImages",
    "Inspection",
    "check",
    "decode",
    "decode_rows",
    "inspect",
    "random_crop",
    "random_flip",
]
