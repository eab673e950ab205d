"""The file of --jsonl_output: one JSON object a line, which a second run goes on with."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

from imgcap.errors import ConfigError
from imgcap.files.locking import Held, lock
from imgcap.files.names import ESCAPED


class Kept(NamedTuple):
    """Answers that an earlier run wrote.

    Attributes:
        captioned: the images that have a caption, by their names as written.
        refused: the images that have none.
    """

    captioned: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()

    def __contains__(self, image: object) -> bool:
        return image in self.captioned or image in self.refused


class AnswerFile:
    """A file that answers are added to; what is in it stays.

    Attributes:
        kept: the answers that were there before.
    """

    def __init__(self, file: BinaryIO, kept: Kept) -> None:
        self._file, self.kept = file, kept

    def add(self, answer: dict[str, Any]) -> None:
        """Writes an answer; whoever reads the file sees it at once.

        Args:
            answer: an object with the image's name as "image" and its caption, or None.
        """
        line = json.dumps(answer, ensure_ascii=False) + "\n"
        self._file.write(line.encode("utf-8", ESCAPED))
        self._file.flush()


@contextlib.contextmanager
def open_answers(path: str) -> Iterator[AnswerFile]:
    """Opens the file of answers, to add some.

    Args:
        path: the file; made if it is absent. The half of a line that a killed run left is removed.

    Yields:
        The file, which is closed when the context ends.

    Raises:
        ConfigError: the file cannot be written, another process is writing it, or it holds
            something else than answers.
    """
    if Path(path).exists() and not Path(path).is_file():  # a pipe, or a device
        with _open(path, "wb") as file:
            yield AnswerFile(file, Kept())
        return
    with _open(path, "a+b") as file:
        try:
            lock(file.fileno(), Path(path).parent)
        except Held:
            raise ConfigError(
                f"--jsonl_output={path} is being written by another command: wait for it"
            ) from None
        kept, end = _read(file, path)
        file.truncate(end)
        yield AnswerFile(file, kept)


def _open(path: str, mode: Literal["wb", "a+b"]) -> BinaryIO:
    try:
        return open(path, mode)
    except OSError as error:
        raise ConfigError(f"--jsonl_output={path} can't be written ({error.strerror})") from None


def _read(file: BinaryIO, path: str) -> tuple[Kept, int]:
    """Reads the answers of a file, and where the last whole one ends."""
    captioned: set[str] = set()
    refused: set[str] = set()
    end = 0
    file.seek(0)
    for number, line in enumerate(file, 1):
        if not line.endswith(b"\n"):
            break
        try:
            answer = json.loads(line)
            (captioned if answer["caption"] is not None else refused).add(answer["image"])
        except (ValueError, KeyError, TypeError):
            raise ConfigError(
                f"--jsonl_output={path} has a line {number} that is no answer: name another file, "
                "or remove this one"
            ) from None
        end += len(line)
    return Kept(frozenset(captioned), frozenset(refused)), end
