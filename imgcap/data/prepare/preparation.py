"""Preparation of a raw data set: TFRecord shards, vocabulary and manifest.

Shards are written in parallel, by processes of this machine or by the workers of Apache Beam, and
may be interrupted. Each finished shard leaves a small part file under `.parts/`; the manifest is
written last. A second run of the same preparation keeps the finished shards and makes the rest.
"""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from imgcap.config import PrepareConfig
from imgcap.config.prepare import LOCAL
from imgcap.data.manifest import (
    NAME,
    VOCABULARY_NAME,
    Manifest,
    load_manifest,
    write_manifest,
)
from imgcap.data.prepare.local import LocalRoad
from imgcap.data.prepare.plan import Plan, Survey, make_plan
from imgcap.data.prepare.summary import make_manifest, refuse_too_many_unreadable
from imgcap.data.prepare.tasks import PARTS, ShardResult
from imgcap.data.text.vocabulary import Vocabulary
from imgcap.errors import DataError
from imgcap.files import locking
from imgcap.files.locations import is_file, is_folder, is_remote, join, make_folder, remove, walk
from imgcap.files.unfinished import remove_abandoned
from imgcap.host.beam import import_beam

LOCK = ".lock"


class Road(Protocol):
    """One way to prepare: what it does itself, and what all roads share is in this module."""

    def survey(self) -> Survey:
        """Reads captions and splits, and lists the image files; opens no image."""
        ...

    def write_shards(self, plan: Plan) -> dict[str, ShardResult]:
        """Writes the shards that are not finished yet; returns the results of all, by name."""
        ...

    def close(self) -> None:
        """Removes what the road alone needed."""
        ...


def prepare(
    config: PrepareConfig, base: Vocabulary | None = None, options: Sequence[str] = ()
) -> Manifest:
    """Prepares `output_dir` for training.

    Args:
        config: validated settings.
        base: vocabulary of the run that `config.vocabulary` names; None if it names none.
        options: own options of the runner that `config.runner` names, each as `--name=value`.

    Returns:
        The manifest, as written.

    Raises:
        ConfigError: the runner cannot be had, or does not know one of its options.
        DataError: the raw data is missing or broken, too many words are unknown to `base`, too many
            images are unreadable, or `output_dir` holds another data set.
    """
    road, folder = _make_road(config, options), config.output_dir
    try:
        plan = make_plan(config, road.survey(), base)
        written = _finished_before(folder, plan.fingerprint)
        if not written:
            make_folder(join(folder, PARTS))
        with _held(folder) if not written else contextlib.nullcontext():
            # Another process may have ended the work just before the lock was free.
            written = written or _finished_before(folder, plan.fingerprint)
            if not written:
                written = _write_all(config, plan, road)
            # After the manifest: a process that was killed before this point left them.
            _clean_up(folder)
    finally:
        road.close()
    return written


def _make_road(config: PrepareConfig, options: Sequence[str]) -> Road:
    """The road that a flag names."""
    if config.runner == LOCAL:
        return LocalRoad(config)
    import_beam(f"--runner={config.runner}")
    from imgcap.data.prepare.beam.road import BeamRoad

    return BeamRoad(config, options)


def _write_all(config: PrepareConfig, plan: Plan, road: Road) -> Manifest:
    """Writes shards, vocabulary and manifest; returns the manifest."""
    folder = config.output_dir
    results = road.write_shards(plan)
    refuse_too_many_unreadable(results, plan.survey.tally.images, config.max_bad_fraction)
    plan.words.vocabulary.save(join(folder, VOCABULARY_NAME))
    written = make_manifest(config, plan, results)
    write_manifest(folder, written)
    return written


def _clean_up(folder: str) -> None:
    """Removes what a finished preparation needs no more."""
    if not is_remote(folder):
        shutil.rmtree(join(folder, PARTS), ignore_errors=True)
        remove_abandoned(Path(folder))
    elif is_folder(join(folder, PARTS)):
        for location in walk(join(folder, PARTS)):
            remove(location)


@contextlib.contextmanager
def _held(folder: str) -> Iterator[None]:
    """Holds the folder of a data set for this process alone; DataError if another has it.

    Stores with addresses have no locks.
    """
    with contextlib.ExitStack() as held:
        try:
            if not is_remote(folder):
                held.enter_context(locking.locked(Path(folder, LOCK)))
        except locking.Held:
            raise DataError(
                f"{folder} is being prepared by another process: wait for it, or give a new "
                "--output_dir"
            ) from None
        yield


def _finished_before(folder: str, plan: str) -> Manifest | None:
    """The manifest of an earlier run of the same plan; None if there is no manifest yet."""
    if not is_file(join(folder, NAME)):
        return None
    existing = load_manifest(folder)
    if existing.fingerprint != plan:
        raise DataError(
            f"{join(folder, NAME)} describes another preparation (fingerprint "
            f"{existing.fingerprint}, now {plan}): give a new --output_dir or remove that folder"
        )
    return existing
