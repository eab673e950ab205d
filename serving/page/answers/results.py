"""A visit's store: the photos on the page, their answers, and the texts that the visitor edited.

It lives in Streamlit's session, so it survives a connection that breaks and comes back.
"""

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import streamlit as st

from serving.client import Caption
from serving.client.confidence import is_sure
from serving.page.options import MAX_FAILED_MB, MAX_RESULTS, MAX_TOTAL_MB
from serving.page.photos.intake import Intake
from serving.page.photos.photo import File, Photo, name_apart
from serving.page.photos.thumbnails import Thumbnails
from serving.page.settings import Settings

CONCURRENCY = 2
"""Photos of one visit that are with the server at a time."""

Key = tuple[str, Settings, int]
"""Digest of a photo, the model asked, and the version that answered."""


class Result(NamedTuple):
    """What became of a photo.

    Attributes:
        thumbnails: what is kept of it; None if it is no image.
        caption: the answer, or None.
        error: a plain sentence if there is no caption; else empty.
        passing: whether asking again may give a caption.
    """

    thumbnails: Thumbnails | None
    caption: Caption | None
    error: str
    passing: bool = False


class Visit:
    """All that is known of one visit.

    Attributes:
        photos: what is on the page, in the order given.
        results: the answers, those used last at the end.
        originals: files of photos that are not captioned yet, by digest.
        edits: alternative texts that the visitor wrote or confirmed, by the photos' digests.
        refused: plain sentences on files that were not taken.
        version: the model's version that answered last; 0 before any did.
        arrivals: how often photos were given; the page scrolls to the answer of new ones.
        asked: photos that wait for the server, or are with it.
        again: those of the answers that are to be asked for anew.
        workers: the threads that ask.
    """

    def __init__(self) -> None:
        self.photos: list[Photo] = []
        self.results: dict[Key, Result] = {}
        self.originals: dict[str, File] = {}
        self.edits: dict[str, str] = {}
        self.refused: list[str] = []
        self.version = 0
        self.arrivals = 0
        self.asked: dict[Key, Future[Result]] = {}
        self.again: set[Key] = set()
        self._opened: tuple[Photo, Result] | None = None
        self.workers = ThreadPoolExecutor(CONCURRENCY, "captioning")
        self._names: dict[str, str] = {}

    def take(self, intake: Intake) -> None:
        """Puts new photos on the page; of the earlier ones stay those that wait for an answer."""
        self.refused = intake.refused
        if not intake.photos:
            return
        waiting, total = [], 0
        for photo in self.photos:
            original = self.originals.get(photo.digest)
            total += original.size if original else 0
            if original and photo.digest not in intake.photos and total <= MAX_TOTAL_MB * 2**20:
                waiting.append(photo)
        new = [Photo(self._name(digest, file), digest) for digest, file in intake.photos.items()]
        for digest, file in intake.photos.items():
            if self.find_thumbnails(digest) is None:
                self.originals[digest] = file
        self.photos = (new + waiting)[:MAX_RESULTS]
        self.arrivals += 1
        self._forget()

    def key(self, photo: Photo, settings: Settings) -> Key:
        """What a photo's answer under these settings is kept by."""
        return photo.digest, settings, self.version

    def store(self, key: Key, result: Result) -> None:
        """Keeps an answer, and lets go of the photo's original once that is not needed."""
        self.results.pop(key, None)
        self.results[key] = result
        if not result.passing:
            self.originals.pop(key[0], None)
        self._forget()

    def touch(self, keys: Iterable[Key]) -> None:
        """Marks answers as used, so that others are forgotten before them."""
        for key in keys:
            if key in self.results:
                self.results[key] = self.results.pop(key)

    def cancel(self, but: Iterable[Key]) -> None:
        """Takes back what was asked and is not needed any more.

        Args:
            but: what is needed.
        """
        needed = set(but)
        for key in [key for key in self.asked if key not in needed]:
            self.asked.pop(key).cancel()

    def try_again(self) -> None:
        """Lets photos be asked for again that failed for a passing reason."""
        self.again = {key for key, result in self.results.items() if result.passing}

    def find(self, key: Key) -> Result | None:
        """The answer that is kept by a key; None if there is none or it is asked for anew."""
        return None if key in self.asked else self.results.get(key)

    def open(self, photo: Photo, result: Result) -> None:
        """Has the details of a photo shown when the page is drawn next."""
        self._opened = photo, result

    def pop_opened(self) -> tuple[Photo, Result] | None:
        """The photo whose details are to be shown, once."""
        opened, self._opened = self._opened, None
        return opened

    def find_thumbnails(self, digest: str) -> Thumbnails | None:
        """What is kept of a photo, whoever captioned it."""
        kept = (result.thumbnails for key, result in self.results.items() if key[0] == digest)
        return next((thumbnails for thumbnails in kept if thumbnails), None)

    def captioned(self) -> dict[Photo, Result]:
        """The last answer of each captioned photo of the visit, in the order of the answers."""
        return {
            Photo(self._names[digest], digest): result
            for (digest, _, _), result in self.results.items()
            if result.caption is not None
        }

    def alt_text(self, photo: Photo, caption: Caption) -> str:
        """A photo's alternative text: the visitor's, else the caption."""
        return self.edits.get(photo.digest, caption.text)

    def is_edited(self, photo: Photo, caption: Caption) -> bool:
        """Whether the alternative text is another one than the caption."""
        return self.alt_text(photo, caption) != caption.text

    def is_ready(self, photo: Photo, caption: Caption) -> bool:
        """Whether the alternative text may be used: the model is sure, or the visitor checked."""
        return photo.digest in self.edits or is_sure(caption.confidence)

    def _name(self, digest: str, file: File) -> str:
        others = {name for known, name in self._names.items() if known != digest}
        if digest not in self._names:
            self._names[digest] = name_apart(file.path, others)
        return self._names[digest]

    def _forget(self) -> None:
        """Keeps the limits: the oldest answers go, and originals that keep failing."""
        while len(self.results) > MAX_RESULTS:
            self.results.pop(next(iter(self.results)))
        here = {photo.digest for photo in self.photos}
        known = here | {digest for digest, _, _ in self.results}
        for texts in (self.edits, self._names):
            for digest in [digest for digest in texts if digest not in known]:
                del texts[digest]
        for digest in [digest for digest in self.originals if digest not in here]:
            del self.originals[digest]
        failed = [key[0] for key, result in self.results.items() if result.passing]
        kept = [digest for digest in failed if digest in self.originals]
        total = sum(self.originals[digest].size for digest in kept)
        for digest in kept:
            if total <= MAX_FAILED_MB * 2**20:
                break
            total -= self.originals.pop(digest).size


def find_visit() -> Visit:
    """The visit that the page is drawn for."""
    if "visit" not in st.session_state:
        st.session_state.visit = Visit()
    return st.session_state.visit


def clear_visit() -> None:
    """Forgets all photos and texts of the visit; which version answered is no secret."""
    old, new = find_visit(), Visit()
    old.cancel(())
    old.workers.shutdown(wait=False)
    new.version, new.arrivals = old.version, old.arrivals
    st.session_state.visit = new
