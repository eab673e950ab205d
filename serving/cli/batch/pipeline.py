"""The pipeline of a job: shards in, their answers written by the worker that made them.

An element is the number of a shard, and a model's answer is that of a whole shard. So nothing
passes a grouping between the model and the file, a job that is killed keeps whole shards, and no
step holds more than the answers of one.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import ModelHandler, PredictionResult, RunInference

from imgcap.errors import DataError, ImgcapError
from imgcap.files import failures
from imgcap.host.beam import open_pipeline
from serving.cli.batch.parts import Parts
from serving.cli.batch.worker import Job, Worker, make_captioner


def caption_shards(job: Job, shards: Iterable[int], options: Sequence[str]) -> None:
    """Captions shards on the job's runner, until they are finished or one cannot be.

    Args:
        job: the job.
        shards: numbers of the shards that are to be made.
        options: the runner's own options.

    Raises:
        ImgcapError: a shard cannot be made; those that are finished stay.
    """
    parts = Parts(job.output)
    with open_pipeline(job.work.runner, options) as pipeline:
        _ = (
            pipeline
            | "Shards" >> beam.Create([[shard] for shard in shards])
            | "Spread" >> beam.Reshuffle()
            | "Caption" >> RunInference(ShardHandler(job).with_no_batching())
            | "Write" >> beam.Map(write_answers, job)
        )
    failure = parts.take_failure()
    if failure is not None:
        raise failure


class ShardHandler(ModelHandler):
    """Captions shards with a model that is loaded once a process.

    A failure is written down and not raised: runners repeat what raises, and print its traceback.
    """

    def __init__(self, job: Job) -> None:
        """Loads nothing yet.

        Args:
            job: the job.
        """
        super().__init__()
        self._job = job

    def load_model(self) -> "Loaded":
        """Loads the model, in a worker."""
        parts = Parts(self._job.output)
        try:
            return Loaded(Worker(self._job, make_captioner(self._job)))
        except ImgcapError as error:
            parts.fail(error)
            return Loaded(None)

    def run_inference(
        self, batch: Sequence[int], model: "Loaded", inference_args: dict[str, Any] | None = None
    ) -> Iterator[PredictionResult]:
        """Yields the answers of each shard; None for one that is not to be written."""
        parts = Parts(self._job.output)
        for shard in batch:
            answers = None
            if model.worker is not None and not parts.has_failed():
                try:
                    answers = model.worker.caption(shard)
                except ImgcapError as error:
                    parts.fail(error)
            yield PredictionResult(shard, answers)


class Loaded:
    """What a process holds.

    Attributes:
        worker: captions shards; None if its model cannot be loaded.
    """

    def __init__(self, worker: Worker | None) -> None:
        self.worker = worker


def write_answers(result: PredictionResult, job: Job) -> None:
    """Stores the answers of a shard.

    Raises:
        DataError: the disk is full or fails.
    """
    if result.inference is None:
        return
    try:
        Parts(job.output).write_answers(result.example, result.inference)
    except OSError as error:
        raise DataError(failures.describe(error)) from None
