"""One worker of a job: it captions shards, by an export that it holds or by servers."""

import importlib.util
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from imgcap.errors import ConfigError, ServingError
from imgcap.host import quiet
from imgcap.host.memory import give_back, use_one_arena
from imgcap.host.threads import map_in_order
from serving.cli.answers.formats import judge, to_object
from serving.cli.batch.config import ModelConfig, WorkConfig
from serving.cli.batch.exports import Export
from serving.cli.batch.parts import Parts
from serving.cli.batch.reading import read_images
from serving.cli.connection import client_arguments
from serving.client.answers import Caption, Outcome
from serving.client.blocking import CaptionClient
from serving.client.errors import BadImage
from serving.client.fleet import Fleet, TooLate

NAME = "imgcap-caption-batch"

_REQUESTS, _BATCHES = 16, 2
"""Requests to servers, and batches in an export, that are under way at a time by default."""


@dataclass(frozen=True)
class Job:
    """All that a worker needs to know; it is sent to whatever machine the worker runs on.

    Attributes:
        output: location of the captions, by which the job's files are found.
        model: how the model is asked.
        export: the export to load; None if servers are asked.
        work: how to go about it.
    """

    output: str
    model: ModelConfig
    export: Export | None
    work: WorkConfig


class Captioner(Protocol):
    """Captions any number of images."""

    def caption_many(self, images: Iterable[bytes | BadImage]) -> Iterator[Caption | ServingError]:
        """Yields a caption or an error for each image, in their order."""


class Worker:
    """Captions shards of a job, one after the other."""

    def __init__(self, job: Job, captioner: Captioner) -> None:
        """Reads nothing yet.

        Args:
            job: the job.
            captioner: captions its images.
        """
        self._parts, self._captioner = Parts(job.output), captioner
        self._max_side = job.model.max_side or None
        self._min_confidence = job.work.min_confidence

    def caption(self, shard: int) -> list[dict[str, Any]]:
        """Captions the images of a shard.

        Args:
            shard: its number.

        Returns:
            What `imgcap-caption --jsonl_output` writes of each image, in their order.

        Raises:
            ServingError: the model cannot be asked any more.
            DataError: the images of the shard cannot be read at all.
        """
        names: list[str] = []
        images = _split(read_images(self._parts.read_images(shard), self._max_side), names)
        answers = [
            to_object(judge(names[number], _outcome(answer), self._min_confidence))
            for number, answer in enumerate(self._captioner.caption_many(images))
        ]
        # What one large photograph took would stay, else, to the end of the job.
        give_back()
        return answers


def _split(
    images: Iterable[tuple[str, bytes | BadImage]], names: list[str]
) -> Iterator[bytes | BadImage]:
    """Yields images without their names, which are added to a list."""
    for name, image in images:
        names.append(name)
        yield image


def _outcome(answer: Caption | ServingError) -> Outcome:
    """The outcome of an image; raises an error that would hit every further image, too."""
    if isinstance(answer, Caption):
        return Outcome(b"", answer, None)
    if not isinstance(answer, BadImage | TooLate):
        raise answer
    return Outcome(b"", None, answer)


def make_captioner(job: Job) -> Captioner:
    """Loads the export of a job, or opens the connections to its servers.

    Raises:
        ServingError: the export cannot be loaded.
        ConfigError: TensorFlow, which an export needs, is not installed.
    """
    if job.export is None:
        return _Servers(job)
    require_tensorflow()
    use_one_arena()
    quiet.import_tensorflow()
    from serving.cli.batch.saved_model import SavedModelCaptioner

    batches = job.work.concurrency or _BATCHES
    return SavedModelCaptioner(job.export, job.model.signature, batches)


def require_tensorflow() -> None:
    """Raises ConfigError if TensorFlow is not installed; does not import it."""
    if importlib.util.find_spec("tensorflow") is None:
        raise ConfigError(
            "--model needs TensorFlow: pip install 'imgcap-tf[train,beam]', or ask --server"
        )


def make_clients(model: ModelConfig) -> list[CaptionClient]:
    """Makes a client for each server; none connects yet."""
    # Images are shrunk as they are read.
    common = client_arguments(model) | {"model": model.model_name, "max_side": None}
    return [CaptionClient(**common | {"target": target}) for target in model.servers]


def tell(line: str) -> None:
    """Prints a line about the job on standard error."""
    print(f"{NAME}: {line}", file=sys.stderr, flush=True)


class _Servers:
    """A fleet of servers."""

    def __init__(self, job: Job) -> None:
        self._fleet = Fleet(make_clients(job.model), job.work.wait, tell, known=True)
        self._requests = job.work.concurrency or _REQUESTS

    def caption_many(self, images: Iterable[bytes | BadImage]) -> Iterator[Caption | ServingError]:
        """Yields a caption or an error for each image, in their order."""
        held = 2 * self._requests
        for _, call in map_in_order(self._ask, images, self._requests, held, self._fleet.stop):
            try:
                yield call.result()
            except ServingError as error:
                yield error

    def _ask(self, image: bytes | BadImage) -> Caption:
        if isinstance(image, BadImage):
            raise image
        return self._fleet.caption(image)
