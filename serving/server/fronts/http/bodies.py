"""Bodies of requests: how many bytes all of them may hold, and compressed ones."""

import threading
import zlib

_STEP = 2**20


class TooLarge(Exception):
    """A body has more bytes than it may."""


class NoRoom(Exception):
    """All bodies together have more bytes than they may."""


class Room:
    """The bytes that all bodies inside may hold; any number of threads may use it."""

    def __init__(self, size: int) -> None:
        """Starts empty.

        Args:
            size: number of bytes that fit.
        """
        self._left = size
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """Takes room.

        Raises:
            NoRoom: there is less left, and nothing is taken.
        """
        with self._lock:
            if size > self._left:
                raise NoRoom
            self._left -= size

    def give_back(self, size: int) -> None:
        """Gives room back that was taken."""
        with self._lock:
            self._left += size


class Place:
    """The room that one body has taken; leaving the `with` gives it back."""

    def __init__(self, room: Room, most: int) -> None:
        """Takes nothing yet.

        Args:
            room: the room of all bodies.
            most: number of bytes that this body may have, compressed or not.
        """
        self._room, self._most, self._taken = room, most, 0

    def take(self, size: int, so_far: int) -> None:
        """Takes room for the next bytes.

        Args:
            size: number of bytes.
            so_far: number of bytes before them.

        Raises:
            TooLarge: the body has too many.
            NoRoom: all bodies together have too many.
        """
        if so_far + size > self._most:
            raise TooLarge
        self._room.take(size)
        self._taken += size

    def inflate(self, body: bytes) -> bytes:
        """Decompresses a body of gzip.

        Args:
            body: the whole body.

        Returns:
            Its content; nothing if it is no gzip, or cut off, as in the real server.

        Raises:
            TooLarge: there is too much in it.
            NoRoom: all bodies together have too many bytes.
        """
        stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        pieces: list[bytes] = []
        size = 0
        rest = body
        try:
            while not stream.eof:
                piece = stream.decompress(rest, _STEP)
                rest = stream.unconsumed_tail
                if not piece and not rest:
                    return b""
                self.take(len(piece), size)
                size += len(piece)
                pieces.append(piece)
        except zlib.error:
            return b""
        return b"".join(pieces)

    def __enter__(self) -> "Place":
        return self

    def __exit__(self, *error: object) -> None:
        self._room.give_back(self._taken)
