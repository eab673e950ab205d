"""The headers of image files, read in plain Python as `imgcap.data.image` reads them in the graph.

Pillow reads some headers otherwise: it takes an orientation from XMP too, gives up a PNG for a
large comment, allocates an animated WebP when it is opened, and decodes BMPs that TensorFlow
refuses. All functions are total: any bytes give an answer, because beyond the end of a file zeros
are read.
"""

import zlib
from collections.abc import Iterator
from typing import Literal, NamedTuple

from imgcap.data.pictures import kinds

_RED_GREEN_BLUE = b"\0\0\xff\0\0\xff\0\0\xff\0\0\0"


class Chunk(NamedTuple):
    """A part of a PNG file.

    Attributes:
        name: four letters; of a critical chunk, the first is a capital.
        content: what the chunk holds; fewer bytes than it declares if the file is cut off.
        stored: the chunk as it stands in the file, with length, name and checksum.
        sound: whether it is whole and its checksum is right.
    """

    name: bytes
    content: bytes
    stored: bytes
    sound: bool

    @property
    def critical(self) -> bool:
        """Whether no decoder may pass over the chunk."""
        return not self.name[:1].islower()


def read_orientation(image_bytes: bytes) -> int:
    """The EXIF orientation of a JPEG, PNG or WebP, 1 to 8; 1 (upright) if it has none."""
    if image_bytes.startswith(kinds.JPEG_MAGIC):
        return _tiff_orientation(_jpeg_exif(image_bytes))
    if image_bytes.startswith(kinds.PNG_MAGIC):
        return _tiff_orientation(_png_exif(image_bytes))
    if image_bytes[8:12] == kinds.WEBP_MAGIC:
        return _tiff_orientation(_webp_exif(image_bytes).removeprefix(b"Exif\0\0"))
    return 1


def has_jpeg_end(image_bytes: bytes) -> bool:
    """Whether the end marker follows the last scan of a JPEG, however much stands after it."""
    end = image_bytes.rfind(kinds.END_OF_IMAGE)
    return end > image_bytes.rfind(b"\xff\xda")


def count_jpeg_scans(image_bytes: bytes) -> int:
    """Counts the markers of a JPEG that begin a scan."""
    return image_bytes.count(b"\xff\xda")


def png_chunks(image_bytes: bytes) -> Iterator[Chunk]:
    """Walks over the chunks of a PNG up to its end; the last one may be cut off."""
    position = len(kinds.PNG_MAGIC)
    while position < len(image_bytes):
        length = _number(image_bytes, position, 4, "big")
        stored = image_bytes[position : position + 12 + length]
        checksum = zlib.crc32(stored[4:-4]).to_bytes(4, "big")
        sound = len(stored) == 12 + length and stored[-4:] == checksum
        yield Chunk(stored[4:8], stored[8 : 8 + length], stored, sound)
        position += 12 + length
        if stored[4:8] == b"IEND":
            return


def plain_png(image_bytes: bytes) -> bytes:
    """Leaves out of a PNG what makes no pixel: comments, profiles, further pictures, trailing data.

    A broken chunk of transparent colours goes too: libpng passes over it.
    """
    kept = [
        chunk.stored
        for chunk in png_chunks(image_bytes)
        if chunk.critical or (chunk.name == b"tRNS" and chunk.sound)
    ]
    return kinds.PNG_MAGIC + b"".join(kept)


def webp_size(image_bytes: bytes) -> tuple[int, int]:
    """Width and height of a WebP: of the canvas in an extended file, else of its one picture."""
    kind = image_bytes[12:16]
    if kind == b"VP8X":
        width, height = (_number(image_bytes, start, 3, "little") for start in (24, 27))
        return width + 1, height + 1
    if kind == b"VP8L":
        bits = _number(image_bytes, 21, 4, "little")
        return bits % (1 << 14) + 1, bits // (1 << 14) % (1 << 14) + 1
    width, height = (_number(image_bytes, start, 2, "little") for start in (26, 28))
    return width % (1 << 14), height % (1 << 14)


def webp_with_alpha(image_bytes: bytes) -> bytes:
    """Sets the alpha flag of an animated WebP, so that a canvas without picture is transparent."""
    animated = image_bytes[12:16] == b"VP8X" and _number(image_bytes, 20, 1, "big") & 2
    return image_bytes[:20] + b"\x12" + image_bytes[21:] if animated else image_bytes


def is_supported_bmp(image_bytes: bytes) -> bool:
    """Whether a BMP has 8, 24 or 32 bits, is not compressed, and has its channels as usual."""
    size, bits, compression = (
        _number(image_bytes, start, count, "little") for start, count in ((14, 4), (28, 2), (30, 4))
    )
    masked = compression == 3 and bits == 32 and image_bytes[54:66] == _RED_GREEN_BLUE
    return 40 <= size < 1 << 31 and bits in (8, 24, 32) and (compression == 0 or masked)


def _number(data: bytes, position: int, size: int, order: Literal["little", "big"]) -> int:
    return int.from_bytes(data[position : position + size].ljust(size, b"\0"), order)


def _length(data: bytes, position: int, order: Literal["little", "big"]) -> int:
    """A length of 32 bits, as the graph takes it: a negative one is 0."""
    length = _number(data, position, 4, order)
    return length if length < 1 << 31 else 0


def _jpeg_exif(data: bytes) -> bytes:
    """The first EXIF block among a JPEG's application segments and comments; empty if none."""
    position = 2
    for _ in range(kinds.MAX_SEGMENTS):
        marker = _number(data, position, 2, "big")
        if marker >> 4 != 0xFFE and marker != 0xFFFE:
            break
        end = position + 2 + _number(data, position + 2, 2, "big")
        if marker == 0xFFE1 and data[position + 4 : position + 10] == b"Exif\0\0":
            return data[position + 10 : max(end, position + 10)]
        position = end
    return b""


def _png_exif(data: bytes) -> bytes:
    """The EXIF block of a PNG, if it stands before the pixels; else empty."""
    position, name = len(kinds.PNG_MAGIC), b"IHDR"
    for _ in range(kinds.MAX_CHUNKS):
        if name in (b"eXIf", b"IDAT", b""):
            break
        position += 12 + _length(data, position, "big")
        name = data[position + 4 : position + 8]
    length = _length(data, position, "big")
    return data[position + 8 : position + 8 + length] if name == b"eXIf" else b""


def _webp_exif(data: bytes) -> bytes:
    """The EXIF block of a WebP; empty if there is none."""
    position = 12
    for _ in range(kinds.MAX_CHUNKS):
        size = _length(data, position + 4, "little")
        if data[position : position + 4] in (b"EXIF", b""):
            break
        position += 8 + size + size % 2
    size = _length(data, position + 4, "little")
    name = data[position : position + 4]
    return data[position + 8 : position + 8 + size] if name == b"EXIF" else b""


def _tiff_orientation(tiff: bytes) -> int:
    """Orientation in the first directory of an EXIF block, a TIFF file in either byte order."""
    order: Literal["little", "big"] = "little" if tiff[:4] == b"II*\0" else "big"
    if order == "big" and tiff[:4] != b"MM\0*":
        return 1
    directory = _number(tiff, 4, 4, order)
    count = min(_number(tiff, directory, 2, order), kinds.MAX_EXIF_ENTRIES)
    found = [1]
    for start in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, kind, value = (_number(tiff, start + offset, 2, order) for offset in (0, 2, 8))
        if tag == kinds.ORIENTATION_TAG and kind == kinds.SHORT and value <= 8:
            found.append(value)
    return max(found)
