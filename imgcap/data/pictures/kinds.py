"""Which files are pictures that the graph decodes, and why another is refused: the shared facts.

Both halves keep to them: `imgcap.data.image`, which decodes in TensorFlow, and this package, which
decodes by Pillow.
"""

JPEG_MAGIC = b"\xff\xd8\xff"
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
GIF_MAGIC = b"GIF8"
BMP_MAGIC = b"BM"
"""How files of these formats begin; a WebP has WEBP_MAGIC from its ninth byte on."""

WEBP_MAGIC = b"WEBP"

END_OF_IMAGE = b"\xff\xd9"
"""The end marker of a JPEG."""

TRIAL = bytes((37 * place * place + 11 * place + 85) % 251 for place in range(400))
"""What the rest of a cut-off JPEG is replaced by for a trial: bytes without 0xFF, which begins a
marker, and in no order that a code might take for "the same as before".
"""

PNG_END = b"\0\0\0\0IEND\xae\x42\x60\x82"
"""The last chunk of a PNG, without which libpng gives up a picture that is whole."""

GIF_END = b"\0;"
"""How a GIF ends: a block of length 0, and the trailer."""

NOT_AN_IMAGE = "not an image: JPEG, PNG, GIF, BMP or WebP is required"
DAMAGED = "the image data is cut off or damaged: send the whole file"
TOO_MANY_SCANS = "a progressive JPEG of far too many scans: save it anew"
UNSUPPORTED_BMP = "a compressed BMP, or one of other than 8, 24 or 32 bits: save it as PNG or JPEG"

# A progressive JPEG goes over its pixels once a scan, and encoders write up to 20. A hostile file
# of 228 KB and 36 million pixels went over them 210 times, which took 11 s.
MAX_SCANS = 32

# The header of a JPEG's scan takes at least this many bytes.
SCAN_BYTES = 10

# Bounds on the walks over a file's parts, far above what real files have: a file made of tiny parts
# can't buy time.
MAX_SEGMENTS = 64
MAX_EXIF_ENTRIES = 64
MAX_CHUNKS = 64

ORIENTATION_TAG = 0x0112
SHORT = 3
"""The EXIF tag of the orientation, and the type that it must have."""

_FOREIGN = [
    (b"II*", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    *[(b"\0\0\0\0ftyp" + brand, "HEIC") for brand in (b"hei", b"hev", b"mif1", b"msf1")],
    (b"\0\0\0\0ftypavi", "AVIF"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"8BPS", "Photoshop"),
]

FOREIGN_MAGIC = [magic.ljust(12, b"\0") for magic, _ in _FOREIGN]
"""How pictures of other formats begin, 12 bytes each; a zero stands for any byte."""

FOREIGN_NAMES = [name for _, name in _FOREIGN]
"""The format of each of FOREIGN_MAGIC."""


def foreign_error(name: str) -> str:
    """The sentence that refuses a picture of a format that the graph cannot decode."""
    return f"a {name} picture cannot be read: save it as JPEG or PNG"


def opening_error(image_bytes: bytes) -> str:
    """Says why a file cannot be opened, as the graph does.

    Args:
        image_bytes: the whole file, or at least its first 12 bytes.
    """
    known = (JPEG_MAGIC, PNG_MAGIC, GIF_MAGIC, BMP_MAGIC)
    if image_bytes.startswith(known) or image_bytes[8:12] == WEBP_MAGIC:
        return DAMAGED
    head = image_bytes[:12].ljust(12, b"\0")
    for magic, name in zip(FOREIGN_MAGIC, FOREIGN_NAMES, strict=True):
        if all(wanted in (0, found) for wanted, found in zip(magic, head, strict=True)):
            return foreign_error(name)
    return NOT_AN_IMAGE
