"""The numbered versions in a model's folder: published by rename, never overwritten, and removed on
demand, oldest first.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from imgcap.errors import ExportError
from imgcap.files import unfinished
from imgcap.files.model_folder import find_versions
from imgcap.files.moving import move, unfinished_name

VERSION = "version"
"""What unfinished versions are called, which have no number yet."""


@contextlib.contextmanager
def unfinished_folder(base: Path) -> Iterator[Path]:
    """Makes the folder where this process writes a version before it is published.

    Servers ignore it. What killed exports left is removed first, and nothing of those that run.

    Args:
        base: the model's folder; made if absent.

    Yields:
        The folder, empty; removed when the context ends, unless it was published.

    Raises:
        ExportError: the model's folder can't be written.
    """
    with contextlib.ExitStack() as held:
        try:
            unfinished.remove_abandoned(base)
            folder = held.enter_context(unfinished.unfinished_folder(base / VERSION))
        except OSError as error:
            raise ExportError(
                f"{base} can't be written ({error.strerror}): free the disk or mend the folder"
            ) from None
        yield folder


def publish(written: Path, base: Path, number_it: Callable[[int], object]) -> Path:
    """Renames a version to the first free number: a server that watches sees all of it or nothing.

    Args:
        written: the whole version; gone afterwards.
        base: the model's folder.
        number_it: writes the version's number into `written`; called again if another export
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
            unfinished.finish_folder(written, base / str(number))
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
            hidden = unfinished_name(older[number], f"{os.getpid()}.removed")
            move(older[number], hidden)
            hidden.unlink() if hidden.is_symlink() else shutil.rmtree(hidden)
        except FileNotFoundError:
            continue  # Another export removes it, too.
        except OSError as error:
            raise ExportError(
                f"{published} is published, but {older[number]} can't be removed "
                f"({error.strerror}): remove it by hand"
            ) from None
    return removed
