"""The local road: this machine reads the captions, and its processes write the shards."""

import multiprocessing
import os
import threading
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import connection

from imgcap.config import PrepareConfig
from imgcap.data.prepare.plan import Plan, Survey
from imgcap.data.prepare.tally import Tally
from imgcap.data.prepare.tasks import ShardResult, ShardTask, read_part
from imgcap.data.raw.example import SPLITS, Example
from imgcap.data.raw.reading import describe, find_source, read
from imgcap.errors import DataError
from imgcap.host.progress import Progress


class LocalRoad:
    """A preparation by processes of this machine."""

    def __init__(self, config: PrepareConfig) -> None:
        """Reads nothing yet.

        Args:
            config: validated settings.
        """
        self._config = config
        self._examples: list[Example] = []

    def survey(self) -> Survey:
        """Reads captions and splits, and lists the image files; opens no image.

        Raises:
            DataError: the raw data is missing or broken.
        """
        source = find_source(self._config)
        raw = read(source, self._config.seed)
        print(describe(source, raw))
        self._examples = raw.examples
        tally = Tally()
        for example in raw.examples:
            tally.add(example, self._config.seed, self._config.tokenizer)
        return Survey(
            source.dataset, tally, raw.absent, raw.unlisted, raw.uncaptioned, raw.split_source
        )

    def write_shards(self, plan: Plan) -> dict[str, ShardResult]:
        """Writes the shards that are not finished yet, in worker processes.

        Args:
            plan: made from this road's survey.

        Returns:
            Name of each shard to its result.

        Raises:
            DataError: the shards cannot be written.
        """
        examples: dict[str, list[Example]] = {
            name: [] for split in SPLITS for name in plan.shards.names(split)
        }
        for example in self._examples:
            examples[plan.shards.name_of(example.image_id, example.split)].append(example)
        tasks = {name: plan.shards.make_task(name, members) for name, members in examples.items()}
        return _run_tasks(tasks, self._config)

    def close(self) -> None:
        """Does nothing: whatever this road leaves, the preparation removes."""


def _run_tasks(tasks: Mapping[str, ShardTask], config: PrepareConfig) -> dict[str, ShardResult]:
    """Runs the tasks of the shards that are not finished yet: name to result."""
    processes = config.num_processes or os.cpu_count() or 1
    results = {name: result for name, task in tasks.items() if (result := read_part(task))}
    todo = {name: task for name, task in tasks.items() if name not in results}
    with Progress("prepare", sum(len(task.examples) for task in tasks.values()), "images") as bar:
        bar.skip(sum(len(tasks[name].examples) for name in results))
        if not todo:
            return results
        # A fork server that has imported TensorFlow once: each worker starts in milliseconds, and
        # no thread of this process is forked in the middle of its work.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["imgcap.data.prepare.shard_writer"])
        with ProcessPoolExecutor(min(processes, len(todo)), context, _end_with_parent) as pool:
            running = {pool.submit(_write_shard, task): name for name, task in todo.items()}
            try:
                for future in as_completed(running):
                    name = running[future]
                    results[name] = future.result()
                    bar.advance(len(tasks[name].examples))
            except OSError as error:
                raise DataError(
                    f"{config.output_dir} can't be written ({error.strerror}): free the disk or "
                    "mend the folder, then run the same command again"
                ) from None
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
    return results


def _end_with_parent() -> None:
    """Lets a worker process end when the one that started it has ended, however it ended.

    A worker whose parent was killed would else wait for its next task for ever.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _write_shard(task: ShardTask) -> ShardResult:
    """Writes one shard, in a worker process that has imported TensorFlow already."""
    from imgcap.data.prepare import shard_writer

    return shard_writer.write(task)
