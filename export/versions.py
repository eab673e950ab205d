"""The numbered versions in a model's folder: published by rename, never overwritten, and removed on
demand, oldest first.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from imgcap.errors import ExportError
from imgcap.files.model_folder import find_versions
from imgcap.files.moving import move

UNFINISHED = ".unfinished"
REMOVED = ".removed"


def unfinished_folder(base: Path) -> Path:
    """The folder where this process writes a version before it is published; servers ignore it.

    Args:
        base: the model's folder.
    """
    # The process's number keeps two exports at the same time out of each other's unfinished work.
    return base / f"{UNFINISHED}.{os.getpid()}"


def make_empty(folder: Path) -> None:
    """Makes a folder, without what a killed process may have left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def publish(unfinished: Path, base: Path, number_it: Callable[[int], object]) -> Path:
    """Renames a version to the first free number: a server that watches sees all of it or nothing.

    Args:
        unfinished: the whole version; gone afterwards.
        base: the model's folder.
        number_it: writes the version's number into `unfinished`; called again if another export
            took it.

    Returns:
        The version's folder.
    """
    number = max(find_versions(base), default=0) + 1
    while True:
        number_it(number)
        try:
            # Renaming onto a folder that another export has just published fails, since it is not
            # empty.
            move(unfinished, base / str(number))
            return base / str(number)
        except OSError:
            if not (base / str(number)).exists():
                raise
            number += 1


def prune(published: Path, keep: int) -> list[int]:
    """Removes old versions.

    Args:
        published: a version; it stays, and so does all that is newer: another export may have just
            published that.
        keep: how many versions stay of this one and older ones; 0 is all.

    Returns:
        The numbers of what was removed.

    Raises:
        ExportError: a version can't be removed.
    """
    older = {
        number: path
        for number, path in find_versions(published.parent).items()
        if number < int(published.name)
    }
    removed = list(older)[: max(0, len(older) + 1 - keep)] if keep else []
    for number in removed:
        try:
            # Renamed first: a server that looks meanwhile must not find half a version.
            hidden = published.parent / f"{REMOVED}.{number}.{os.getpid()}"
            move(older[number], hidden)
            hidden.unlink() if hidden.is_symlink() else shutil.rmtree(hidden)
        except OSError as error:
            raise ExportError(
                f"{published} is published, but {older[number]} can't be removed "
                f"({error.strerror}): remove it by hand"
            ) from None
    return removed
