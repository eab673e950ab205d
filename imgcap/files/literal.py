"""Folders whose paths TensorFlow would read as patterns, or could not read at all.

TensorFlow looks a checkpoint up as a pattern: `run_lr=[0.001]/weights` finds `run_lr=0/weights`, or
nothing. A backslash in a pattern hides the character after it, and escaping does not help, since
the same text names the file to open. A path that is no UTF-8 cannot be given to it as text.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imgcap.files.names import is_text

_PATTERN_CHARACTERS = frozenset("*?[\\")
"""What `tensorflow::Env::GetMatchingPaths` reads as a part of a pattern."""


def is_literal(path: Path) -> bool:
    """Whether TensorFlow takes a path as it stands: UTF-8 without the characters of patterns."""
    text = str(path)
    return _PATTERN_CHARACTERS.isdisjoint(text) and is_text(text)


@contextmanager
def literal_folder(folder: Path) -> Iterator[Path]:
    """Gives a folder a path that TensorFlow takes as it stands.

    Args:
        folder: must exist.

    Yields:
        The folder itself, or a symbolic link to it that is gone when the context ends.
    """
    if is_literal(folder):
        yield folder
        return
    place = None if is_literal(Path(tempfile.gettempdir())) else "/tmp"
    with tempfile.TemporaryDirectory(prefix="imgcap-", dir=place) as links:
        link = Path(links, "folder")
        link.symlink_to(folder.absolute(), target_is_directory=True)
        yield link
