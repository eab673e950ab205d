"""Image bytes to pixels, and augmentation: the only image code of training and serving."""

from imgcap.data.image.augmentation import random_crop, random_flip
from imgcap.data.image.decoding import (
    PARALLEL_ROWS,
    DecodedImages,
    PartlyDecodedImages,
    decode,
    decode_rows,
    decode_rows_in_part,
)
from imgcap.data.image.inspection import Inspection, check, inspect
from imgcap.data.pictures.kinds import (
    DAMAGED,
    MAX_SCANS,
    NOT_AN_IMAGE,
    TOO_MANY_SCANS,
    UNSUPPORTED_BMP,
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
    "PartlyDecodedImages",
    "check",
    "decode",
    "decode_rows",
    "decode_rows_in_part",
    "inspect",
    "random_crop",
    "random_flip",
]
