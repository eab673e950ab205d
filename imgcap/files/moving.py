"""Names for unfinished work, and renaming it when it is whole, on any file system."""

import errno
import hashlib
import os
import shutil
from pathlib import Path

UNFINISHED = ".unfinished"
"""End of the names of files and folders that are being written; nothing reads them."""

_MAX_NAME = 255
"""Bytes that the name of a file may have on nearly every file system."""


def unfinished_name(path: Path, mark: str = "") -> Path:
    """Names a hidden neighbour under which a file or folder is written until it is whole.

    Args:
        path: the final path; its own name may be as long as the file system takes.
        mark: tells writers of one path apart, such as a process's number.

    Returns:
        A path in the same folder, so that renaming it costs nothing.
    """
    end = f".{mark}{UNFINISHED}" if mark else UNFINISHED
    name = f".{path.name}{end}"
    if len(os.fsencode(name)) > _MAX_NAME:
        name = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}{end}"
    return path.with_name(name)


def move(source: Path, target: Path) -> None:
    """Renames a file or a folder; where the file system cannot, copies it and removes the source.

    Neighbours can lie on two file systems in unions of them (overlayfs, mergerfs), and renaming
    then fails with EXDEV. A copy is not made in one step: a process that is killed meanwhile leaves
    a part of it.

    Args:
        source: gone afterwards.
        target: a file is replaced; a folder must be absent or empty.

    Raises:
        OSError: neither can be done; `source` is whole then.
    """
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        if source.is_symlink():
            target.symlink_to(source.readlink())
            source.unlink()
        elif source.is_dir():
            _copy_folder(source, target)
        else:
            shutil.copy2(source, target)
            source.unlink()


def _copy_folder(source: Path, target: Path) -> None:
    """Copies a folder to a path where there is none or an empty one, then removes the source."""
    if target.exists():
        target.rmdir()  # As renaming does, it fails unless the folder is empty.
    try:
        shutil.copytree(source, target, symlinks=True)
    except OSError:
        shutil.rmtree(target, ignore_errors=True)
        raise
    shutil.rmtree(source, ignore_errors=True)


def discard(folder: Path) -> None:
    """Removes a folder so that no reader ever finds a part of it.

    On NFS a file that somebody still reads stays as `.nfsXXXX`, and its folder cannot be removed
    before that ends. It is renamed first, and what cannot be removed stays under the name of
    unfinished work.

    Args:
        folder: nothing happens if it is absent.
    """
    hidden = unfinished_name(folder, f"{os.getpid()}.removed")
    try:
        shutil.rmtree(hidden, ignore_errors=True)
        folder.rename(hidden)
    except FileNotFoundError:
        return
    except OSError:
        hidden = folder
    shutil.rmtree(hidden, ignore_errors=True)
