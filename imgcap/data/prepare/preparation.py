"""Preparation of a raw data set: TFRecord shards, vocabulary and manifest.

Processes write shards in parallel, and may be interrupted. Each finished shard leaves a small part
file under `.parts/`; the manifest is written last. A second run of the same preparation keeps the
finished shards and makes the rest. So several machines can share the work: each makes its own
shards, and when all are there one of them writes the manifest.
"""

import contextlib
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import threading
from collections import Counter
from collections.abc import Collection, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import connection
from pathlib import Path
from typing import NamedTuple

import numpy as np

import imgcap
from imgcap.config import PrepareConfig
from imgcap.data.manifest import (
    DEFAULT_PICTURES,
    NAME,
    VOCABULARY_NAME,
    Manifest,
    load_manifest,
    write_manifest,
)
from imgcap.data.prepare.tasks import ShardResult, ShardTask
from imgcap.data.prepare.words import Words, choose_words
from imgcap.data.raw import flickr8k
from imgcap.data.raw.example import SPLITS, RawDataset
from imgcap.data.text.tokenisation import normalise
from imgcap.data.text.vocabulary import UNK, Vocabulary
from imgcap.errors import DataError
from imgcap.files import locking
from imgcap.files.checked import read_checked
from imgcap.files.locations import file_size
from imgcap.files.unfinished import remove_abandoned
from imgcap.host.progress import Progress

PARTS = ".parts"
LOCK = ".lock"
# Held-out splits are a tenth of the training split: a quarter of its shards keeps their files
# readable in parallel.
HELD_OUT_SHARDS = 4
SHOWN_NAMES = 5


class Plan(NamedTuple):
    """A preparation before its first image is opened.

    Attributes:
        raw: the raw data set.
        words: the vocabulary, and how it was chosen.
        fingerprint: of all that decides the shards.
        tasks: one a shard.
        finished: the manifest, if an earlier run wrote it.
    """

    raw: RawDataset
    words: Words
    fingerprint: str
    tasks: list[ShardTask]
    finished: Manifest | None


def prepare(config: PrepareConfig, base: Vocabulary | None = None) -> Manifest:
    """Prepares `output_dir` for training, or joins the parts that several machines made there.

    Args:
        config: validated settings.
        base: vocabulary of the run that `config.vocabulary` names; None if it names none.

    Returns:
        The manifest, as written.

    Raises:
        DataError: the raw data is missing or broken, too many words are unknown to `base`, too many
            images are unreadable, `output_dir` holds another data set, or a part to be joined is
            missing or of another preparation.
    """
    plan, folder = _make_plan(config, base), Path(config.output_dir)
    if not plan.finished:
        folder.mkdir(parents=True, exist_ok=True)
    with _held(folder) if not plan.finished else contextlib.nullcontext():
        # Another process may have ended the work just before the lock was free.
        written = plan.finished or _finished_before(folder, plan.fingerprint)
        if not written:
            written = _write_all(config, plan)
        # After the manifest: a process that was killed before this point left them.
        shutil.rmtree(folder / PARTS, ignore_errors=True)
        remove_abandoned(folder)
    return written


def _write_all(config: PrepareConfig, plan: Plan) -> Manifest:
    """Writes shards, vocabulary and manifest; returns the manifest."""
    folder = Path(config.output_dir)
    results = _read_parts(config, plan.tasks) if config.merge else _run_tasks(plan.tasks, config)
    _refuse_too_many_unreadable(results, plan.raw, config.max_bad_fraction)
    plan.words.vocabulary.save(folder / VOCABULARY_NAME)
    written = _make_manifest(config, plan, results)
    write_manifest(folder, written)
    return written


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Holds the folder of a data set for this process alone; DataError if another has it."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locking.locked(folder / LOCK))
        except locking.Held:
            raise DataError(
                f"{folder} is being prepared by another process: wait for it, or give a new "
                "--output_dir"
            ) from None
        yield


def prepare_part(config: PrepareConfig, base: Vocabulary | None = None) -> str:
    """Makes the shards of this machine, one of several that prepare a data set together.

    Args:
        config: validated settings; the same on all machines but for `shard_index`.
        base: vocabulary of the run that `config.vocabulary` names; None if it names none.

    Returns:
        A line that says what was made and what comes next.

    Raises:
        DataError: the raw data is missing or broken, too many words are unknown to `base`, or
            `output_dir` holds another data set.
    """
    plan = _make_plan(config, base)
    if plan.finished:
        return f"{config.output_dir} is joined already"
    results = _run_tasks(plan.tasks[config.shard_index :: config.shard_count], config)
    images = sum(result.images for result in results.values())
    return (
        f"part {config.shard_index} of {config.shard_count}: {images} images in {len(results)} "
        "shards; when all parts are made: imgcap-prepare --merge with the same flags but "
        "--shard_index"
    )


def _make_plan(config: PrepareConfig, base: Vocabulary | None) -> Plan:
    """Reads the raw data set, chooses the words and plans the shards."""
    raw = flickr8k.read(Path(config.raw_dir), config.seed)
    words = _choose_words(config, raw, base)
    fingerprint = _fingerprint(config, raw, words.vocabulary)
    finished = _finished_before(Path(config.output_dir), fingerprint)
    tasks = _make_tasks(config, raw, words.vocabulary, fingerprint)
    return Plan(raw, words, fingerprint, tasks, finished)


def describe(prepared: Manifest) -> str:
    """Describes what was prepared and what was left out, in a few lines."""
    lines = [
        f"{split}: {prepared.images[split]} images, {prepared.captions[split]} captions, "
        f"{len(prepared.shards[split])} shards"
        for split in SPLITS
    ]
    lines.append(
        f"vocabulary: {prepared.vocabulary_size} words ({_sources_of_words(prepared)}), "
        f"fingerprint {prepared.vocabulary_fingerprint}; split: {prepared.split_source}"
    )
    lines.append(
        f"unknown words: {prepared.unknown_fraction('train'):.1%} of the words of the training "
        "captions"
    )
    left_out = {
        "unreadable": sorted(prepared.unreadable),
        "listed but not in the image folder": prepared.absent,
        "in no split list": prepared.unlisted,
        "without a caption": prepared.uncaptioned,
    }
    lines += [f"left out, {reason}: {_some(names)}" for reason, names in left_out.items() if names]
    return "\n".join(lines)


def _sources_of_words(prepared: Manifest) -> str:
    """Where the words of a vocabulary come from, in a few words."""
    if not prepared.vocabulary_from:
        return f"count >= {prepared.min_count}"
    run = f"those of {prepared.vocabulary_from}"
    if not prepared.min_count:
        return run
    return f"{run} and {prepared.new_words} new ones, count >= {prepared.min_count}"


def _some(names: list[str]) -> str:
    """The number of names, and the first of them."""
    return f"{len(names)} ({_names(names)})"


def _names(names: list[str]) -> str:
    """The first names, and an ellipsis if there are more."""
    return ", ".join(names[:SHOWN_NAMES]) + (", …" if len(names) > SHOWN_NAMES else "")


def _choose_words(config: PrepareConfig, raw: RawDataset, base: Vocabulary | None) -> Words:
    """Chooses the words, and refuses those of a run that leave too many unknown."""
    captions = [
        normalise(text)
        for example in raw.examples
        if example.split == "train"
        for text in example.captions
    ]
    if not captions:
        raise DataError(
            "the training split has no image with captions: check the split files against the "
            "image folder"
        )
    words = choose_words(captions, config.min_count, base, config.extend_vocabulary)
    if base is not None and words.unknown_fraction > config.max_unknown:
        frequent = [f"{word} {count} times" for word, count in words.unknown.most_common(5)]
        remedy = "lower --min_count" if config.extend_vocabulary else "give --extend_vocabulary"
        raise DataError(
            f"{config.raw_dir}: {words.unknown_fraction:.1%} of the words of the training captions "
            f"are unknown to --vocabulary={config.vocabulary}, more than --max_unknown="
            f"{config.max_unknown}: {remedy}, or raise the limit ({', '.join(frequent)}, …)"
        )
    return words


def _fingerprint(config: PrepareConfig, raw: RawDataset, vocabulary: Vocabulary) -> str:
    """A hash of all that decides the shards.

    Of the images it takes names and sizes, since reading all would cost as much as preparing.
    """
    settings = [
        config.num_shards,
        config.max_length,
        config.seed,
        vocabulary.fingerprint,
        imgcap.__version__,
    ]
    if config.pictures != DEFAULT_PICTURES:
        # Only then: the fingerprint of data that were prepared before is still theirs.
        settings.append(config.pictures)
    return _hash([settings, _identities(raw)])


def _identities(raw: RawDataset) -> list[list[str | int]]:
    """Name, size of the file, split and captions of each image."""
    return [
        [example.image_id, file_size(example.location), example.split, *example.captions]
        for example in raw.examples
    ]


def _hash(tree: object) -> str:
    return hashlib.sha256(json.dumps(tree).encode()).hexdigest()[:16]


def _finished_before(folder: Path, plan: str) -> Manifest | None:
    """The manifest of an earlier run of the same plan; None if there is no manifest yet."""
    if not (folder / NAME).exists():
        return None
    existing = load_manifest(folder)
    if existing.fingerprint != plan:
        raise DataError(
            f"{folder / NAME} describes another preparation (fingerprint "
            f"{existing.fingerprint}, now {plan}): give a new --output_dir or remove that folder"
        )
    return existing


def _make_tasks(
    config: PrepareConfig, raw: RawDataset, vocabulary: Vocabulary, plan: str
) -> list[ShardTask]:
    """Distributes the images of each split over its shards."""
    folder, tasks = Path(config.output_dir), []
    settings = {
        "--num_shards": str(config.num_shards),
        "--max_length": str(config.max_length),
        "--seed": str(config.seed),
        "--pictures": config.pictures,
        "imgcap": imgcap.__version__,
        "vocabulary": vocabulary.fingerprint,
        "images and captions": _hash(_identities(raw)),
    }
    for split in SPLITS:
        examples = [example for example in raw.examples if example.split == split]
        # Shuffled once here, so that neighbours in a shard (taken from one album, say) do not meet
        # in every batch.
        random.Random(config.seed).shuffle(examples)
        wanted = config.num_shards if split == "train" else -(-config.num_shards // HELD_OUT_SHARDS)
        count = max(1, min(wanted, len(examples)))
        for index in range(count):
            path = folder / f"{split}-{index:05d}-of-{count:05d}.tfrecord"
            part = folder / PARTS / f"{path.name}.json"
            tasks.append(
                ShardTask(
                    path,
                    part,
                    plan,
                    settings,
                    examples[index::count],
                    vocabulary,
                    config.max_length,
                )
            )
    return tasks


def _run_tasks(tasks: list[ShardTask], config: PrepareConfig) -> dict[Path, ShardResult]:
    """Writes the shards that are not finished yet, in worker processes: shard to result."""
    (Path(config.output_dir) / PARTS).mkdir(parents=True, exist_ok=True)
    processes = config.num_processes or os.cpu_count() or 1
    results = {task.path: result for task in tasks if (result := _read_part(task))}
    todo = [task for task in tasks if task.path not in results]
    with Progress("prepare", sum(len(task.examples) for task in tasks), "images") as progress:
        progress.skip(sum(len(task.examples) for task in tasks if task.path in results))
        if not todo:
            return results
        # A fork server that has imported TensorFlow once: each worker starts in milliseconds, and
        # no thread of this process is forked in the middle of its work.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["imgcap.data.prepare.shard_writer"])
        with ProcessPoolExecutor(min(processes, len(todo)), context, _end_with_parent) as pool:
            running = {pool.submit(_write_shard, task): task for task in todo}
            try:
                for future in as_completed(running):
                    results[running[future].path] = future.result()
                    progress.advance(len(running[future].examples))
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


def _read_part(task: ShardTask) -> ShardResult | None:
    """The result of a task that an earlier run finished; None if it must be run."""
    result = _load_result(task.part) if task.path.is_file() else None
    if not result or result.plan != task.plan or result.size != task.path.stat().st_size:
        return None
    return result


def _load_result(part: Path) -> ShardResult | None:
    """Reads a part file; None if there is no whole one."""
    try:
        return ShardResult(**read_checked(part, DataError, ""))
    except (DataError, TypeError):
        return None


def _read_parts(config: PrepareConfig, tasks: list[ShardTask]) -> dict[Path, ShardResult]:
    """Reads the results of all machines; raises DataError if one is missing or of another plan."""
    for part in sorted((Path(config.output_dir) / PARTS).glob("*.json")):
        found = _load_result(part)
        if found and found.plan != tasks[0].plan:
            _refuse_other_settings(part, found.settings, tasks[0].settings)
    results = {task.path: result for task in tasks if (result := _read_part(task))}
    missing = [(number, task) for number, task in enumerate(tasks) if task.path not in results]
    if missing:
        lacking = sorted({number % config.shard_count for number, _ in missing})
        remedy = (
            f"run --shard_index={', '.join(map(str, lacking))} of "
            f"--shard_count={config.shard_count} to its end"
            if config.shard_count > 1
            else "give --shard_count to learn whose they are, or drop --merge to make them here"
        )
        raise DataError(
            f"{config.output_dir} lacks {len(missing)} of {len(tasks)} shards "
            f"({_names([task.path.name for _, task in missing])}): {remedy}"
        )
    return results


def _refuse_other_settings(part: Path, found: dict[str, str], here: dict[str, str]) -> None:
    """Raises DataError that names the settings by which a part differs from this call."""
    differing = [
        f"{name} {found.get(name)} (here {here[name]})"
        for name in here
        if found.get(name) != here[name]
    ]
    raise DataError(
        f"{part.name.removesuffix('.json')} was made with {', '.join(differing)}: prepare all "
        "parts with the same flags from the same raw data, into an empty --output_dir"
    )


def _refuse_too_many_unreadable(
    results: dict[Path, ShardResult], raw: RawDataset, limit: float
) -> None:
    """Raises DataError if more than that share of the images is unreadable."""
    unreadable = {
        name: why for result in results.values() for name, why in result.unreadable.items()
    }
    if len(unreadable) > limit * len(raw.examples):
        listed = "; ".join(f"{name}: {why}" for name, why in sorted(unreadable.items())[:20])
        more = "" if len(unreadable) <= 20 else f"; and {len(unreadable) - 20} more"
        raise DataError(
            f"{len(unreadable)} of {len(raw.examples)} images are unreadable, more than "
            f"--max_bad_fraction={limit}: mend them or raise the limit ({listed}{more})"
        )


def _make_manifest(config: PrepareConfig, plan: Plan, results: dict[Path, ShardResult]) -> Manifest:
    """Sums up the results of all shards."""
    raw, vocabulary = plan.raw, plan.words.vocabulary
    by_split = {
        split: [task.path for task in plan.tasks if task.path.name.startswith(f"{split}-")]
        for split in SPLITS
    }
    unreadable = {
        name: why for result in results.values() for name, why in result.unreadable.items()
    }
    return Manifest(
        imgcap_version=imgcap.__version__,
        dataset=config.dataset,
        fingerprint=plan.fingerprint,
        vocabulary_fingerprint=vocabulary.fingerprint,
        vocabulary_size=len(vocabulary),
        min_count=plan.words.min_count,
        max_length=config.max_length,
        seed=config.seed,
        split_source=raw.split_source,
        images={
            split: sum(results[path].images for path in paths) for split, paths in by_split.items()
        },
        captions={
            split: sum(results[path].captions for path in paths)
            for split, paths in by_split.items()
        },
        shards={split: [path.name for path in paths] for split, paths in by_split.items()},
        token_counts=_count_tokens(raw, vocabulary, config.max_length, unreadable.keys()),
        text=_text_statistics(raw, vocabulary),
        unreadable=dict(sorted(unreadable.items())),
        absent=raw.absent,
        unlisted=raw.unlisted,
        uncaptioned=raw.uncaptioned,
        pictures=config.pictures,
        vocabulary_from=config.vocabulary,
        new_words=plan.words.new_words,
        sizes={task.path.name: results[task.path].size for task in plan.tasks},
    )


def _count_tokens(
    raw: RawDataset, vocabulary: Vocabulary, max_length: int, left_out: Collection[str]
) -> dict[str, int]:
    """Counts the training captions of each length in tokens.

    By them training knows the number of its steps without reading a shard.
    """
    usable = [
        example
        for example in raw.examples
        if example.split == "train" and example.image_id not in left_out
    ]
    captions = (normalise(text) for example in usable for text in example.captions)
    counts = Counter(len(vocabulary.encode(words, max_length)) for words in captions)
    return {str(length): counts[length] for length in sorted(counts)}


def _text_statistics(raw: RawDataset, vocabulary: Vocabulary) -> dict[str, float]:
    """Computes lengths of training captions, and each split's share of words that are unknown."""
    known = set(vocabulary.words)
    words = {
        split: [
            normalise(text)
            for example in raw.examples
            if example.split == split
            for text in example.captions
        ]
        for split in SPLITS
    }
    lengths = np.array([len(caption) for caption in words["train"]])
    statistics = {
        "length_mean": float(lengths.mean()),
        "length_95_percentile": float(np.percentile(lengths, 95)),
        "length_max": float(lengths.max()),
    }
    for split, captions in words.items():
        outside = sum(word not in known for caption in captions for word in caption)
        statistics[f"{vocabulary.words[UNK]}_fraction_{split}"] = outside / max(
            1, sum(map(len, captions))
        )
    return {name: round(value, 5) for name, value in statistics.items()}
