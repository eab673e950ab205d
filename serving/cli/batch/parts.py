"""The files of a job: its plan, what each shard is, and the answers of finished shards.

captions.jsonl               the captions, once all shards are finished
captions.unreadable.jsonl    images without a caption, and why
captions.job.json            the plan, and at the end the counts
captions.parts/              until then:
    00000012.images          the images of shard 12
    00000012.captions        its answers
    00000012.unreadable      its images without a caption
    00000012.done            counts and sizes of these two: written last, it makes them valid
    failed                   why the job stopped
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from imgcap.errors import ConfigError, DataError, ImgcapError
from imgcap.files.checked import CHECKSUM, digest, is_unchanged
from imgcap.files.locations import (
    base_name,
    is_file,
    is_folder,
    is_remote,
    join,
    make_folder,
    open_file,
    remove,
    rename,
    walk,
)
from imgcap.files.locking import Held, locked
from imgcap.files.names import ESCAPED
from imgcap.files.unfinished import unfinished_file
from imgcap.host.beam import find_error
from serving.cli.batch.inputs import Reference

_ENDING = ".jsonl"
_KINDS = ("captions", "unreadable")
_LOCK = ".lock"


class Counts(NamedTuple):
    """How many images of a shard, or of a job, have a caption.

    Attributes:
        captions: images with one.
        unreadable: images without.
    """

    captions: int = 0
    unreadable: int = 0

    @property
    def images(self) -> int:
        """All images."""
        return self.captions + self.unreadable

    def plus(self, other: "Counts") -> "Counts":
        """The sum of two."""
        return Counts(self.captions + other.captions, self.unreadable + other.unreadable)


class Parts:
    """The files of one job. Workers on other machines make it anew, by the name of its output.

    Attributes:
        output: location of the captions.
        unreadable: location of the images without one.
        plan: location of the plan.
        folder: location of the unfinished job.
    """

    def __init__(self, output: str) -> None:
        """Touches nothing yet.

        Args:
            output: location of the captions.
        """
        stem = output.removesuffix(_ENDING)
        self.output = output
        self.unreadable = f"{stem}.unreadable{_ENDING}"
        self.plan = f"{stem}.job.json"
        self.folder = f"{stem}.parts"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other commands on this machine away while the context lasts.

        Raises:
            ConfigError: one is at work, or the folder cannot be made.
        """
        try:
            make_folder(self.folder)
            if is_remote(self.folder):
                yield
                return
            with locked(Path(self.folder, _LOCK)):
                yield
        except Held:
            raise ConfigError(
                f"--output={self.output} is being written by another command: wait for it"
            ) from None

    def read_plan(self) -> dict[str, Any] | None:
        """Reads the plan of an earlier run; None if there is none.

        Raises:
            DataError: it is damaged.
        """
        if not is_file(self.plan):
            return None
        with open_file(self.plan) as file:
            content = file.read()
        try:
            tree = json.loads(content)
            whole = isinstance(tree, dict) and CHECKSUM in tree and is_unchanged(tree)
        except ValueError:
            whole = False
        if not whole:
            raise DataError(f"{self.plan} is damaged: remove it and {self.folder}, and start anew")
        return tree

    def write_plan(self, plan: dict[str, Any]) -> None:
        """Replaces the plan, in one step."""
        tree = json.loads(json.dumps(plan))
        text = json.dumps({**tree, CHECKSUM: digest(tree)}, indent=2)
        with _replacing(self.plan) as file:
            file.write(text.encode() + b"\n")

    def write_images(self, shards: Iterable[Sequence[Reference]]) -> tuple[int, int]:
        """Writes down the images of each shard.

        Returns:
            Numbers of shards and of references.
        """
        count = references = 0
        for shard in shards:
            with open_file(self._file(count, "images"), "wb") as file:
                for reference in shard:
                    file.write(json.dumps(reference).encode() + b"\n")
            count, references = count + 1, references + len(shard)
        return count, references

    def read_images(self, shard: int) -> Iterator[Reference]:
        """Yields the images of a shard."""
        with open_file(self._file(shard, "images")) as file:
            for line in file:
                yield Reference(*json.loads(line))

    def write_answers(self, shard: int, answers: Sequence[dict[str, Any]]) -> Counts:
        """Stores the answers of a shard; it is finished then.

        Args:
            shard: its number.
            answers: an object for each image, with its "caption", or None and an "error".
        """
        without = [answer for answer in answers if answer["caption"] is None]
        having = [answer for answer in answers if answer["caption"] is not None]
        counts = Counts(len(having), len(without))
        sizes = [
            self._write_lines(self._file(shard, kind), found)
            for kind, found in zip(_KINDS, (having, without), strict=True)
        ]
        with open_file(self._file(shard, "done"), "wb") as file:
            file.write(json.dumps([*counts, *sizes]).encode())
        return counts

    def _write_lines(self, location: str, answers: Sequence[dict[str, Any]]) -> int:
        """Writes answers, if there are any, as JSON lines; returns their bytes."""
        lines = [json.dumps(answer, ensure_ascii=False) + "\n" for answer in answers]
        content = "".join(lines).encode("utf-8", ESCAPED)
        if content:
            with open_file(location, "wb") as file:
                file.write(content)
        return len(content)

    def find_finished(self, known: dict[int, Counts]) -> dict[int, Counts]:
        """Finds the shards that are finished.

        Args:
            known: those found before, which are not looked at again.

        Returns:
            Counts by shard, `known` included.
        """
        found = dict(known)
        for location in walk(self.folder):
            number, _, kind = base_name(location).partition(".")
            if kind == "done" and number.isdecimal() and int(number) not in found:
                with contextlib.suppress(OSError, ValueError, TypeError):
                    with open_file(location) as file:
                        captions, unreadable, *_ = json.loads(file.read())
                    found[int(number)] = Counts(captions, unreadable)
        return found

    def join(self, shards: int, unreadable: int) -> None:
        """Writes the captions of all shards, in the order of the images, and those without.

        Args:
            shards: number of shards, all finished.
            unreadable: images without a caption; there is no file of them if there are none.

        Raises:
            DataError: a shard is damaged; it will be made again.
        """
        if unreadable:
            self._join("unreadable", shards, self.unreadable)
        else:
            remove(self.unreadable)
        self._join("captions", shards, self.output)

    def _join(self, kind: str, shards: int, target: str) -> None:
        with _replacing(target) as file:
            for shard in range(shards):
                with open_file(self._file(shard, "done")) as done:
                    _, _, *sizes = json.loads(done.read())
                size = sizes[_KINDS.index(kind)]
                written = _append(self._file(shard, kind), file) if size else 0
                if written != size:
                    remove(self._file(shard, "done"))
                    raise DataError(
                        f"{self._file(shard, kind)} has {written} bytes of {size}: start the same "
                        "command again, which makes this shard anew"
                    )

    def clear(self, keep_lock: bool = False) -> None:
        """Removes the folder of the unfinished job.

        Args:
            keep_lock: whether the folder itself stays, with the lock that `held` holds.
        """
        if keep_lock or is_remote(self.folder):
            for location in list(walk(self.folder)) if is_folder(self.folder) else []:
                if base_name(location) != _LOCK:
                    remove(location)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def fail(self, error: ImgcapError) -> None:
        """Writes down why the job cannot go on; of several reasons, one stays."""
        kind = type(error)
        with open_file(join(self.folder, "failed"), "wb") as file:
            file.write(f"{kind.__module__}.{kind.__qualname__}: {error}".encode("utf-8", ESCAPED))

    def has_failed(self) -> bool:
        """Whether a worker found that the job cannot go on."""
        return is_file(join(self.folder, "failed"))

    def take_failure(self) -> ImgcapError | None:
        """Reads why the job stopped, and removes the note; None if it did not."""
        location = join(self.folder, "failed")
        if not is_file(location):
            return None
        with open_file(location) as file:
            text = file.read().decode()
        remove(location)
        return find_error(text)

    def _file(self, shard: int, kind: str) -> str:
        return join(self.folder, f"{shard:08d}.{kind}")


def _append(location: str, target: BinaryIO) -> int:
    """Copies a file to the end of another; returns its bytes, 0 if it is missing."""
    written = 0
    with contextlib.suppress(FileNotFoundError), open_file(location) as file:
        while piece := file.read(2**20):
            target.write(piece)
            written += len(piece)
    return written


@contextlib.contextmanager
def _replacing(location: str) -> Iterator[BinaryIO]:
    """A file to write, which gets its name when the context ends without an error."""
    if not is_remote(location):
        with unfinished_file(Path(location)) as path, open(path, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        return
    unfinished = f"{location}.unfinished"
    with open_file(unfinished, "wb") as file:
        yield file
    rename(unfinished, location)
