"""Photos in a zip archive, read one at a time from memory and never unpacked to a disk.

An archive is a stranger's: its limits are checked before anything is allocated for its entries, and
the names in it are shown, never opened.
"""

import functools
import io
import zipfile
import zlib

from serving.client.images import SUFFIXES
from serving.page.options import MAX_ARCHIVE_ENTRIES, MAX_EXPANSION, MAX_PHOTO_MB
from serving.page.photos.photo import File, UnreadableFile, last_part, split_path

ARCHIVE_SUFFIXES = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz")
_ENTRY_SIGNATURE = b"PK\x01\x02"
_ENCRYPTED = 0x1  # bit of an entry's flags

# Bzip2 and LZMA may make megabytes of one small block, before a limit can stop them.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_FAULTS = (zipfile.BadZipFile, ValueError, OSError, EOFError, RuntimeError, zlib.error)


def is_archive(path: str) -> bool:
    """Whether a file is a zip archive, by its name."""
    return path.lower().endswith(".zip")


def open_archive(file: File) -> tuple[list[File], list[str]]:
    """Lists the photos in a zip archive; each is read when it is asked for.

    Args:
        file: the archive.

    Returns:
        Its photos, in the archive's order, and a sentence for each thing that was left out.
    """
    name, content = last_part(file.path), file.read()
    # zipfile reads the whole list before anything can be counted. Each entry has this signature.
    if content.count(_ENTRY_SIGNATURE) > MAX_ARCHIVE_ENTRIES:
        return [], [
            f"{name} was left out: an archive may hold {MAX_ARCHIVE_ENTRIES:,} files at most."
        ]
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except _FAULTS:
        return [], [f"{name} was left out: it can’t be read as a zip archive."]
    photos, refused, others = [], [], 0
    for entry in archive.infolist():
        if entry.is_dir() or _is_hidden(entry.filename):
            continue
        if not entry.filename.lower().endswith((*SUFFIXES, *ARCHIVE_SUFFIXES)):
            others += 1
            continue
        fault = _find_fault(entry)
        if fault:
            refused.append(f"{last_part(entry.filename)} in {name} was left out: {fault}.")
            continue
        read = functools.partial(_read_entry, archive, entry, name)
        photos.append(File(entry.filename, entry.file_size, read))
    # Larger ones are refused unread.
    unpacked = sum(photo.size for photo in photos if photo.size <= MAX_PHOTO_MB * 2**20)
    if unpacked > max(MAX_EXPANSION * len(content), MAX_PHOTO_MB * 2**20):
        return [], [
            f"{name} was left out: its files are more than {MAX_EXPANSION} times as large as it."
        ]
    if others:
        what = "1 other file, which was" if others == 1 else f"{others} other files, which were"
        refused.append(f"{name} holds {what} left out.")
    if not photos and not refused:
        refused.append(f"{name} holds no photographs.")
    return photos, refused


def _is_hidden(path: str) -> bool:
    """Whether a file is a system's own, such as what macOS adds beside each photo."""
    parts = [part for part in split_path(path) if part.strip(".")]
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _find_fault(entry: zipfile.ZipInfo) -> str:
    """Why an entry is not read; empty if it may be."""
    if entry.filename.lower().endswith(ARCHIVE_SUFFIXES):
        return "it is an archive inside an archive"
    if entry.flag_bits & _ENCRYPTED:
        return "it is encrypted"
    if entry.compress_type not in _METHODS:
        return "it is compressed in a way that this page does not read"
    return ""


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> bytes:
    """Unpacks one entry into memory.

    Raises:
        UnreadableFile: it is damaged, or larger than it says and than a photo may be.
    """
    limit = MAX_PHOTO_MB * 2**20
    try:
        with archive.open(entry) as stream:
            content = stream.read(limit + 1)
    except _FAULTS:
        content = b""
    if len(content) != entry.file_size or len(content) > limit:
        raise UnreadableFile(f"{last_part(entry.filename)} in {name} was left out: it is damaged.")
    return content
