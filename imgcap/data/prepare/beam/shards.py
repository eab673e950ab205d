"""The second pipeline: the shards, each written by one worker from references to its images."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsList

from imgcap.data.prepare.plan import ShardPlan
from imgcap.data.prepare.tasks import ShardResult, ShardTask, read_part
from imgcap.data.raw.example import SPLITS, Example
from imgcap.errors import DataError
from imgcap.files.locations import base_name, join, open_file
from imgcap.files.writing import to_json, write_bytes

RESULTS = "results.json"
"""File of the results of all shards."""


def add_shards(
    pipeline: beam.Pipeline, examples: Sequence[str], plan: ShardPlan, folder: str
) -> None:
    """Adds the steps that write the shards that are not finished yet.

    Images are read by the worker that writes them: only their names travel.

    Args:
        pipeline: to which they are added.
        examples: locations of the files of examples that the survey wrote.
        plan: of the shards.
        folder: location in which `results.json` is written.
    """
    names = [name for split in SPLITS for name in plan.names(split)]
    # A split without images has one shard without records.
    every_shard = pipeline | "EveryShard" >> beam.Create([(name, "") for name in names])
    referred = (
        pipeline
        | "FilesOfExamples" >> beam.Create(list(examples))
        | "ReadExamples" >> beam.FlatMap(_read_examples, plan)
    )
    results = (
        (every_shard, referred | beam.Map(lambda pair: pair).with_output_types(tuple[str, str]))
        | "AllReferences" >> beam.Flatten()
        | "ByShard" >> beam.GroupByKey()
        | "WriteShard" >> beam.Map(_write_shard, plan)
    )
    (
        pipeline
        | "Once" >> beam.Create([RESULTS])
        | "WriteResults" >> beam.Map(_write_results, folder, AsList(results))
    )


def _read_examples(location: str, plan: ShardPlan) -> Iterator[tuple[str, str]]:
    """Yields the lines of a file of examples, each under the name of its shard."""
    with open_file(location) as file:
        for line in file.read().decode().splitlines():
            image_id, _, _, split = json.loads(line)
            yield plan.name_of(image_id, split), line


def _write_shard(keyed: tuple[str, Iterable[str]], plan: ShardPlan) -> tuple[str, tuple[Any, ...]]:
    """Writes one shard, or finds it finished; returns its name and its result."""
    name, lines = keyed
    examples = [_parse_example(line) for line in lines if line]
    task = plan.make_task(name, examples)
    result = read_part(task) or _write(task)
    return name, tuple(result)


def _parse_example(line: str) -> Example:
    image_id, location, captions, split = json.loads(line)
    return Example(image_id, location, tuple(captions), split)


def _write(task: ShardTask) -> ShardResult:
    """Writes a shard; DataError if its folder cannot be written."""
    # TensorFlow takes seconds to import, and only workers that write need it.
    from imgcap.data.prepare import shard_writer

    try:
        return shard_writer.write(task)
    except OSError as error:
        folder = task.shard[: -len(base_name(task.shard)) - 1]
        raise DataError(
            f"{folder} can't be written ({error.strerror or error}): free the disk or mend the "
            "folder, then run the same command again"
        ) from None


def _write_results(name: str, folder: str, results: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
    """Writes the results, for the process that started the pipeline."""
    write_bytes(join(folder, name), to_json(dict(results)))
