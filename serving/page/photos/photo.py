"""A photograph that a visitor gave."""

import hashlib
from typing import NamedTuple


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
