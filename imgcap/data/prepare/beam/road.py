"""The road by Apache Beam: two pipelines, between which this process plans the shards."""

import contextlib
import os
import sys
import uuid
from collections.abc import Iterator, Sequence

from imgcap.config import PrepareConfig
from imgcap.data.prepare.beam.shards import RESULTS, add_shards
from imgcap.data.prepare.beam.survey import (
    ABSENT,
    CAPTIONED,
    EXAMPLES,
    FOUND,
    REPEATED,
    SURVEY,
    UNCAPTIONED,
    UNLISTED,
    add_survey,
)
from imgcap.data.prepare.plan import Plan, Survey
from imgcap.data.prepare.tally import Tally
from imgcap.data.prepare.tasks import PARTS, ShardResult
from imgcap.data.raw.example import Source
from imgcap.data.raw.reading import find_source
from imgcap.data.raw.reading.joining import describe_counts
from imgcap.errors import DataError
from imgcap.files.locations import base_name, is_folder, is_remote, join, make_folder, remove, walk
from imgcap.files.writing import read_json
from imgcap.host.beam import DIRECT_RUNNER, open_pipeline, preload_workers
from imgcap.host.progress import Progress, watched

AGAIN = "run the same command again"
"""The remedy if a file is gone that this very command wrote."""


class BeamRoad:
    """A preparation by the workers of one of Beam's runners."""

    def __init__(self, config: PrepareConfig, options: Sequence[str]) -> None:
        """Starts nothing yet.

        Args:
            config: validated settings.
            options: the runner's own options, each as `--name=value`.
        """
        self._config = config
        self._options = list(options)
        self._output = _absolute(config.output_dir)
        # Of this run alone: another one may have been killed, or may be at work.
        self._folder = join(self._output, PARTS, f"survey-{uuid.uuid4().hex[:12]}")

    def survey(self) -> Survey:
        """Reads captions and splits, and lists the image files; opens no image.

        Raises:
            DataError: the raw data is missing or broken.
        """
        source = _absolute_source(find_source(self._config))
        print(f"--runner={self._config.runner}: reading captions, listing images", file=sys.stderr)
        make_folder(self._folder)
        if self._forks():
            preload_workers("imgcap.data.prepare.shard_writer")
        with open_pipeline(self._config.runner, self._options) as pipeline:
            add_survey(pipeline, source, self._config, self._folder)
        tree = read_json(join(self._folder, SURVEY), DataError, AGAIN)
        facts, tally = tree["facts"], Tally.from_tree(tree["tally"])
        if not facts.get(FOUND):
            raise DataError(
                f"{', '.join(source.image_roots)} holds none of the {facts.get(CAPTIONED, 0)} "
                "captioned images: unpack the photos there"
            )
        print(describe_counts(source, tally.images, tally.captions, facts.get(REPEATED, 0)))
        return Survey(
            source.dataset,
            tally,
            tree[ABSENT],
            tree[UNLISTED],
            tree[UNCAPTIONED],
            tree["split_source"],
        )

    def write_shards(self, plan: Plan) -> dict[str, ShardResult]:
        """Writes the shards that are not finished yet, in Beam's workers.

        Args:
            plan: made from this road's survey.

        Returns:
            Name of each shard to its result.

        Raises:
            DataError: the shards cannot be written.
        """
        found = walk(self._folder)
        examples = [location for location in found if base_name(location).startswith(EXAMPLES)]
        shards = plan.shards._replace(
            empty_task=plan.shards.empty_task._replace(shard=self._output)
        )
        with (
            _progress_of_shards(join(self._output, PARTS), sum(shards.counts.values())),
            open_pipeline(self._config.runner, self._shard_options()) as pipeline,
        ):
            add_shards(pipeline, examples, shards, self._folder)
        results = read_json(join(self._folder, RESULTS), DataError, AGAIN)
        return {name: ShardResult(*values) for name, values in results.items()}

    def close(self) -> None:
        """Removes the survey, and folders that hold nothing else."""
        if is_folder(self._folder):
            for location in list(walk(self._folder)):
                remove(location)
        if not is_remote(self._folder):
            with contextlib.suppress(OSError):  # The first that is not empty, or not there.
                for folder in (self._folder, join(self._output, PARTS), self._output):
                    os.rmdir(folder)

    def _forks(self) -> bool:
        """Whether the direct runner will fork worker processes for the shards."""
        mode = "--direct_running_mode="
        given = [option for option in self._shard_options() if option.startswith(mode)]
        return self._config.runner == DIRECT_RUNNER and given[-1] == f"{mode}multi_processing"

    def _shard_options(self) -> list[str]:
        """The runner's options for the pipeline that reads images.

        The direct runner gets a process a core by default. The other pipeline reads texts, which
        one process does in less time than others take to start.
        """
        if self._config.runner != DIRECT_RUNNER:
            return self._options
        processes = self._config.num_processes or os.cpu_count() or 1
        mode = "in_memory" if processes == 1 else "multi_processing"
        return [
            f"--direct_num_workers={processes}",
            f"--direct_running_mode={mode}",
            *self._options,
        ]


def _absolute(location: str) -> str:
    """A location that means the same in every process."""
    return location if is_remote(location) else os.path.abspath(location)


def _absolute_source(source: Source) -> Source:
    """A data set whose locations mean the same in every process."""
    return source._replace(
        captions_files=tuple(map(_absolute, source.captions_files)),
        image_roots=tuple(map(_absolute, source.image_roots)),
        split_lists={split: _absolute(location) for split, location in source.split_lists.items()},
    )


@contextlib.contextmanager
def _progress_of_shards(parts: str, total: int) -> Iterator[None]:
    """Shows how many shards are finished while the context lasts, by counting their part files."""

    def count() -> int:
        return sum(location.endswith(".tfrecord.json") for location in walk(parts))

    with Progress("prepare", total, "shards") as progress:
        done = count()
        progress.skip(done)

        def look() -> None:
            nonlocal done
            before, done = done, count()
            progress.advance(done - before)

        with watched(look):
            yield
