"""A cable between browser and page that can be cut: Chromium's own "offline" keeps web sockets."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Cable:
    """Forwards connections to a port of this machine while it is whole.

    Attributes:
        port: where it takes connections.
    """

    def __init__(self, target: int) -> None:
        """
        Args:
            target: the port at its other end.
        """
        self._target = target
        self._whole = True
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Ends all connections; new ones end at once."""
        self._whole = False
        while self._ends:
            _end(self._ends.pop())

    def mend(self) -> None:
        """Takes new connections again."""
        self._whole = True

    def close(self) -> None:
        """Ends it for good."""
        self.cut()
        _end(self._listener)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if not self._whole:
                    _end(near)
                    continue
                far = socket.create_connection(("127.0.0.1", self._target))
                self._ends += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=pair, daemon=True).start()


@contextmanager
def cable_to(target: int) -> Iterator[Cable]:
    """A cable until the end of the block.

    Args:
        target: the port at its other end.
    """
    cable = Cable(target)
    try:
        yield cable
    finally:
        cable.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Carries bytes one way until either end is closed."""
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    _end(sink)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
