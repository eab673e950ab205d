"""What all campaigns on a server share: a small model, good callers, and an eye on its memory."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from serving.client import CaptionClient
from tests.support.servers import ServerProcess
from tests.support.toy_model import write_toy_model

MODEL = "IMGCAP_CAMPAIGN_MODEL"
"""Environment variable with the folder of an exported model; without it, the toy is attacked."""

KIND = "IMGCAP_CAMPAIGN_SERVER"
"""Environment variable with the kind of server, "embedded" or "real"."""


def server_kind() -> str:
    """The kind of server that is attacked."""
    return os.environ.get(KIND, "embedded")


def write_export(path: Path, word: str = "an") -> Path:
    """Writes the toy as a version that says that imgcap-export wrote it.

    Args:
        path: the version's folder.
        word: the first word of its captions.
    """
    write_toy_model(path, word)
    (path / "manifest.json").write_text('{"max_batch": 256}')
    return path


def find_model(folder: Path) -> tuple[Path, bytes]:
    """The model to attack, and a photograph that it captions.

    Args:
        folder: where the toy is written if no other model is named.
    """
    if MODEL in os.environ:
        park = Path(__file__).parents[3] / "imgcap" / "data" / "samples" / "park.jpg"
        return Path(os.environ[MODEL]), park.read_bytes()
    return write_export(folder / "imgcap" / "1").parent, b"four"


class Asked(NamedTuple):
    """One request of a good caller.

    Attributes:
        seconds: how long it took.
        problem: what was wrong with the answer; empty if nothing was.
        version: that answered; 0 if none did.
    """

    seconds: float
    problem: str
    version: int


class GoodCallers:
    """Threads that ask for the caption of one photograph again and again; a context manager.

    Attributes:
        asked: their requests so far.
    """

    def __init__(
        self,
        target: str,
        photo: bytes,
        number: int,
        expected: Callable[[str, int], bool],
        pause: float = 0.0,
    ) -> None:
        """Asks nothing yet.

        Args:
            target: host:port of the server.
            photo: what they send.
            number: of callers.
            expected: says whether a caption and its version are right.
            pause: seconds between two requests of one caller.
        """
        self.asked: list[Asked] = []
        self._target, self._photo, self._expected = target, photo, expected
        self._pause, self._ended = pause, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(number)]

    def __enter__(self) -> "GoodCallers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with CaptionClient(self._target, timeout=30, retries=0) as client:
            while not self._ended.is_set():
                started, problem, version = time.monotonic(), "", 0
                try:
                    caption = client.caption(self._photo)
                    version = caption.version
                    if not self._expected(caption.text, version):
                        problem = f"wrong: {caption.text!r} of version {version}"
                except Exception as error:
                    problem = f"{type(error).__name__}: {error}"
                self.asked.append(Asked(time.monotonic() - started, problem, version))
                self._ended.wait(self._pause)


def caption_of(target: str, photo: bytes) -> str:
    """The caption that a server gives in peace."""
    with CaptionClient(target, timeout=60) as client:
        return client.caption(photo).text


class MemoryWatch:
    """Looks at a process's memory ten times a second; a context manager.

    Attributes:
        samples: (seconds since the start, MB).
    """

    def __init__(self, server: ServerProcess) -> None:
        self.samples: list[tuple[float, float]] = []
        self._server, self._ended = server, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        started = time.monotonic()
        while True:
            self.samples.append((time.monotonic() - started, self._server.megabytes()))
            if self._ended.wait(0.1):
                return

    @property
    def peak(self) -> float:
        """The most MB that were seen."""
        return max(megabytes for _, megabytes in self.samples)


def settled_megabytes(server: ServerProcess, seconds: float, enough: float = 0.0) -> float:
    """The least memory within some seconds of rest: freed memory is returned after a while.

    Args:
        server: that rests.
        seconds: how long to look at most.
        enough: MB at which looking ends.
    """
    least, end = server.megabytes(), time.monotonic() + seconds
    while time.monotonic() < end and least > enough:
        time.sleep(0.5)
        least = min(least, server.megabytes())
    return least
