"""Reading the images of a shard, some ahead of the model."""

from collections.abc import Iterable, Iterator

from imgcap.files.locations import file_size, is_remote, open_file
from imgcap.host.threads import map_in_order
from serving.cli.batch.inputs import Reference
from serving.client.connection import MAX_IMAGE_BYTES, encode
from serving.client.errors import BadImage

THREADS = 8
"""Files that are read at a time."""

AHEAD = 48
"""Images that are held at a time before the model takes them: three batches."""

Image = tuple[str, bytes | BadImage]
"""An image's name, and its encoded file or why there is none."""


def read_images(references: Iterable[Reference], max_side: int | None) -> Iterator[Image]:
    """Reads images, in their order.

    Args:
        references: image files, or shards of prepared data.
        max_side: pixels of the longer side, to which a larger image is shrunk; None never shrinks.

    Yields:
        Each image's name, and its encoded file or why it cannot be captioned.

    Raises:
        DataError: a shard of prepared data is damaged.
    """

    pending: list[Reference] = []
    for reference in references:
        if reference.image:
            pending.append(reference)
        else:
            yield from _read_records(reference.location, max_side)

    def read(reference: Reference) -> bytes:
        return encode(_read_file(reference.location), max_side)

    for reference, image in map_in_order(read, pending, THREADS, AHEAD):
        try:
            yield reference.image, image.result()
        except BadImage as error:
            yield reference.image, error


def _read_records(location: str, max_side: int | None) -> Iterator[Image]:
    """Reads the images of a shard of prepared data, which needs TensorFlow."""
    from serving.cli.batch.records import read_shard

    for name, image_bytes in read_shard(location):
        try:
            yield name, encode(image_bytes, max_side)
        except BadImage as error:
            yield name, error


def _read_file(location: str) -> bytes:
    """Reads a file; of one that is too large, only enough to say so.

    Raises:
        BadImage: it cannot be read, or is too large.
    """
    try:
        if not is_remote(location) and file_size(location) > MAX_IMAGE_BYTES:
            size, limit = file_size(location) / 2**20, MAX_IMAGE_BYTES // 2**20
            raise BadImage(f"{size:.0f} MB is above the limit of {limit} MB: make it smaller")
        with open_file(location) as file:
            return file.read()
    except OSError as error:
        raise BadImage(f"can't be read: {error.strerror or error}") from None
