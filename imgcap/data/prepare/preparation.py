"""Preparation of a raw data set: TFRecord shards, vocabulary and manifest.

Shards are written in parallel, by processes of this machine or by the workers of Apache Beam, and
may be interrupted. Each finished shard leaves a small part file under `.parts/`; the manifest is
written last. A second run of the same preparation keeps the finished shards and makes the rest.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from imgcap.config import PrepareConfig
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
from imgcap.files.unfinished import remove_abandoned

LOCK = ".lock"


class Road(Protocol):
    """One way to prepare: what it does itself, and what all roads share is in this module."""

    def survey(self) -> Survey: ...  # Reads the captions; opens no image.
    def write_shards(self, plan: Plan) -> dict[str, ShardResult]: ...  # Of all shards, by name.
    def close(self) -> None: ...  # Removes what the road alone needed.


def prepare(config: PrepareConfig, base: Vocabulary | None = None) -> Manifest:
    """Prepares `output_dir` for training.

    Args:
        config: validated settings.
        base: vocabulary of the run that `config.vocabulary` names; None if it names none.

    Returns:
        The manifest, as written.

    Raises:
        DataError: the raw data is missing or broken, too many words are unknown to `base`, too many
            images are unreadable, or `output_dir` holds another data set.
    """
    road, folder = LocalRoad(config), Path(config.output_dir)
    plan = make_plan(config, road.survey(), base)
    written = _finished_before(folder, plan.fingerprint)
    if not written:
        folder.mkdir(parents=True, exist_ok=True)
    with _held(folder) if not written else contextlib.nullcontext():
        # Another process may have ended the work just before the lock was free.
        written = written or _finished_before(folder, plan.fingerprint)
        if not written:
            written = _write_all(config, plan, road)
        # After the manifest: a process that was killed before this point left them.
        shutil.rmtree(folder / PARTS, ignore_errors=True)
        remove_abandoned(folder)
    return written


def _write_all(config: PrepareConfig, plan: Plan, road: Road) -> Manifest:
    """Writes shards, vocabulary and manifest; returns the manifest."""
    folder = Path(config.output_dir)
    (folder / PARTS).mkdir(parents=True, exist_ok=True)
    results = road.write_shards(plan)
    refuse_too_many_unreadable(results, plan.survey.tally.images, config.max_bad_fraction)
    plan.words.vocabulary.save(folder / VOCABULARY_NAME)
    written = make_manifest(config, plan, results)
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
