"""What a visitor gave, checked against the limits: which photos are taken, and what is refused."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from serving.page.options import MAX_ARCHIVE_MB, MAX_PHOTO_MB, MAX_PHOTOS, MAX_TOTAL_MB
from serving.page.photos.archive import is_archive, open_archive
from serving.page.photos.photo import File, UnreadableFile, last_part

_MB = 2**20


class Intake(NamedTuple):
    """What was given at once.

    Attributes:
        photos: the files to caption by their digests, in the order given, each picture once.
        refused: a plain sentence for each file, or kind of file, that is not taken.
    """

    photos: dict[str, File]
    refused: list[str]


def take_in(files: Iterable[File]) -> Intake:
    """Checks files against the limits, those in archives included.

    Args:
        files: as they were given; an archive counts as the photos in it.
    """
    photos: dict[str, File] = {}
    refused: list[str] = []
    count = taken = total = 0
    for file in _unpack(files, refused):
        count += 1
        sentence = _find_fault(file)
        if sentence:
            refused.append(sentence)
        elif taken < MAX_PHOTOS and total + file.size <= MAX_TOTAL_MB * _MB:
            try:
                content = file.read()
            except UnreadableFile as error:
                refused.append(str(error))
                continue
            photos.setdefault(hashlib.sha256(content).hexdigest(), file)
            taken, total = taken + 1, total + len(content)
        elif taken < MAX_PHOTOS:
            refused.append(
                f"{last_part(file.path)} was left out: photographs may have {MAX_TOTAL_MB:,} MB "
                "together at most."
            )
    if count > MAX_PHOTOS and taken == MAX_PHOTOS:
        refused.append(
            f"{count} photographs are too many at once: the first {MAX_PHOTOS} are taken."
        )
    return Intake(photos, refused)


def _unpack(files: Iterable[File], refused: list[str]) -> Iterator[File]:
    """Yields photos, those in archives in their place; adds sentences to `refused`."""
    for file in files:
        if not is_archive(file.path):
            yield file
        elif file.size > MAX_ARCHIVE_MB * _MB:
            refused.append(
                f"{last_part(file.path)} is too large: {file.size / _MB:.0f} MB, and the limit is "
                f"{MAX_ARCHIVE_MB} MB for an archive."
            )
        else:
            photos, sentences = open_archive(file)
            refused.extend(sentences)
            yield from photos


def _find_fault(file: File) -> str:
    """A sentence that says why a photo is not taken; empty if it is."""
    if file.size > MAX_PHOTO_MB * _MB:
        return (
            f"{last_part(file.path)} is too large: {file.size / _MB:.0f} MB, and the limit is "
            f"{MAX_PHOTO_MB} MB for a photograph."
        )
    return ""
