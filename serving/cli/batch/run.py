"""imgcap-caption-batch: captions of any number of images, and a job that goes on after a kill."""

import contextlib
import functools
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from imgcap.cli import command
from imgcap.errors import ConfigError, ImgcapError, ServingError
from imgcap.files.locations import is_file, is_folder
from imgcap.files.names import write_line
from imgcap.host.beam import import_beam
from imgcap.host.progress import Progress, clock, watched
from serving.cli.batch.config import InputConfig, ModelConfig, WorkConfig
from serving.cli.batch.exports import Export, find_export
from serving.cli.batch.inputs import Input, find_input
from serving.cli.batch.parts import Counts, Parts
from serving.cli.batch.worker import NAME, Job, make_clients, require_tensorflow, tell
from serving.client.fleet import AWAY


class Plan(NamedTuple):
    """What a job is, and how far it is.

    Attributes:
        wanted: input, model and options, by which one job is told from another.
        shards: number of its shards.
        images: number of its images.
        counts: of a job that is finished; None before.
    """

    wanted: dict[str, Any]
    shards: int
    images: int
    counts: Counts | None


def main(argv: Sequence[str] | None = None) -> int:
    """The console command; see `imgcap-caption-batch --help`."""
    return command.main(COMMAND, argv)


def caption_batch(
    source: InputConfig, model: ModelConfig, work: WorkConfig, options: Sequence[str]
) -> int:
    """Captions all images of an input, or those that an earlier run of the same job left.

    Args:
        source: which images, and where the answers go.
        model: which model captions them.
        work: how to go about it.
        options: the runner's own options.

    Returns:
        0; 1 if no image at all has a caption.

    Raises:
        ConfigError: nothing to do, or another job has this output.
        ServingError: the model cannot be asked any more; finished shards stay.
    """
    import_beam(NAME)
    parts, found = Parts(source.output), find_input(source)
    export = None if model.servers else _find_export(model)
    wanted = _describe(source, model, work, export) | {"input_fingerprint": found.fingerprint}
    with parts.held():
        plan = _read_plan(parts, wanted)
        if plan is not None and plan.counts is not None:
            parts.clear()
            print(f"{write_line(source.output)} has all answers already: remove it to ask again")
            return _status(plan.counts)
        if plan is None:
            plan = _make_plan(parts, found, wanted, source.input)
        started = time.monotonic()
        made, counts = _work(parts, plan, Job(source.output, model, export, work), options)
        parts.join(plan.shards, counts.unreadable)
        _write_plan(parts, plan._replace(counts=counts))
        parts.clear()
    _summarise(parts, counts, made, time.monotonic() - started)
    return _status(counts)


def _find_export(model: ModelConfig) -> Export:
    """The export to load; the captioner in the box if none is named."""
    require_tensorflow()
    if model.model:
        return find_export(model.model, model.model_version)
    from serving.cli.box import export_once

    return find_export(str(export_once()), 0)


def _ask_version(model: ModelConfig) -> int:
    """Asks all servers for the version that answers.

    Raises:
        ServingError: none answers, or they have several versions.
    """
    versions: dict[int, str] = {}
    away: list[ServingError] = []
    clients = make_clients(model)
    for client in clients:
        try:
            versions.setdefault(client.version_now(), client.target)
        except AWAY as error:
            away.append(error)
        client.close()
    if not versions:
        raise away[0]
    for absent in away:
        tell(f"{absent}; going on without it until it answers")
    if len(versions) > 1:
        found = ", ".join(f"{number} at {target}" for number, target in versions.items())
        raise ServingError(
            f"the servers have several versions of {model.model_name} ({found}): give one of them "
            "as --model_version"
        )
    return next(iter(versions))


def _describe(
    source: InputConfig, model: ModelConfig, work: WorkConfig, export: Export | None
) -> dict[str, Any]:
    """All that decides the answers of a job."""
    return {
        "input": source.input,
        "image_column": source.image_column,
        "image_root": source.image_root,
        "split": source.split,
        "images_per_shard": source.images_per_shard,
        "model": export.fingerprint if export else model.model_name,
        "model_version": export.version if export else _ask_version(model),
        "signature": model.signature,
        "max_side": model.max_side,
        "min_confidence": work.min_confidence,
    }


def _read_plan(parts: Parts, wanted: dict[str, Any]) -> Plan | None:
    """The plan of an earlier run of this job; None if there is none that can go on.

    Raises:
        ConfigError: another job has this output.
    """
    tree = parts.read_plan()
    if tree is None:
        if is_file(parts.output):
            raise ConfigError(
                f"--output={parts.output} is there, of no job that can go on: name another file, "
                "or remove it"
            )
        return None
    counts = Counts(*tree["counts"]) if tree["counts"] else None
    if not (is_folder(parts.folder) if counts is None else is_file(parts.output)):
        return None  # What there was has been removed: it is wanted anew.
    had = tree["job"]
    other = next((name for name in wanted if had.get(name) != wanted[name]), None)
    if other:
        raise ConfigError(
            f"--output={parts.output} belongs to a job with another {other} ({had.get(other)!r}, "
            f"not {wanted[other]!r}): name another file, or remove {parts.plan} and {parts.output}"
        )
    return Plan(wanted, tree["shards"], tree["images"], counts)


def _make_plan(parts: Parts, found: Input, wanted: dict[str, Any], source: str) -> Plan:
    """Lists the images of a new job; ConfigError if there are none."""
    parts.clear(keep_lock=True)
    try:
        shards, references = parts.write_images(found.shards)
        if not shards:
            raise ConfigError(f"--input={source} has no image: name a folder, a glob or a table")
    except ImgcapError:
        parts.clear()  # A job that cannot begin leaves nothing.
        raise
    plan = Plan(wanted, shards, references if found.images is None else found.images, None)
    _write_plan(parts, plan)
    return plan


def _write_plan(parts: Parts, plan: Plan) -> None:
    """Writes down what the job is; once this is done, its images are not looked for again."""
    tree = {"job": plan.wanted, "shards": plan.shards, "images": plan.images}
    parts.write_plan({**tree, "counts": list(plan.counts) if plan.counts else None})


def _work(parts: Parts, plan: Plan, job: Job, options: Sequence[str]) -> tuple[int, Counts]:
    """Makes the shards that are not finished; returns images of this run, and counts of all.

    Raises:
        ServingError: shards are left; those that are finished stay.
    """
    finished = parts.find_finished({})
    before = _sum(finished).images
    left = [shard for shard in range(plan.shards) if shard not in finished]
    if before:
        tell(f"{write_line(parts.folder)} has {before:,} of {plan.images:,} images already")
    parts.take_failure()
    if left:
        from serving.cli.batch.pipeline import caption_shards

        try:
            with _progress(parts, plan.images, finished):
                caption_shards(job, left, options)
        except ServingError as error:
            raise type(error)(
                f"{error}; finished shards stay, start the same command again to go on"
            ) from None
        finished = parts.find_finished(finished)
        missing = plan.shards - len(finished)
        if missing:
            raise ServingError(
                f"{missing} of {plan.shards} shards are not finished: start the same command again"
            )
    counts = _sum(finished)
    return counts.images - before, counts


def _sum(finished: dict[int, Counts]) -> Counts:
    return functools.reduce(Counts.plus, finished.values(), Counts())


@contextlib.contextmanager
def _progress(parts: Parts, images: int, finished: dict[int, Counts]) -> Iterator[None]:
    """Shows how far the job is, by the shards that are finished, while the context lasts."""
    known = finished
    with Progress("captioning", images, "images") as progress:
        progress.skip(_sum(finished).images)

        def look() -> None:
            nonlocal known
            before, known = _sum(known), parts.find_finished(known)
            now = _sum(known)
            note = f"{now.unreadable:,} unreadable" if now.unreadable else ""
            progress.advance(now.images - before.images, note)

        with watched(look):
            yield


def _summarise(parts: Parts, counts: Counts, made: int, seconds: float) -> None:
    """Prints what the job has come to."""
    line = f"{write_line(parts.output)}: {counts.captions:,} captions of {counts.images:,} images"
    if made:
        line += f"; {made:,} in {clock(seconds)}, {made / max(seconds, 1e-6):.1f} images/s"
    if counts.unreadable:
        line += f"; {counts.unreadable:,} unreadable, see {write_line(parts.unreadable)}"
    print(line)


def _status(counts: Counts) -> int:
    return 0 if counts.captions else 1


COMMAND = command.Command(
    name=NAME,
    summary="Captions any number of images into one file of JSON lines, by an export or by model "
    "servers, with workers of Apache Beam. Started again after an interruption, it keeps the "
    "finished shards and makes the rest. Exit status: 0 the answers are whole, images without a "
    "caption are listed beside them; 1 no image has a caption, or the model failed; 2 wrong "
    "usage; 3 the servers are away, late or busy.",
    sections=(InputConfig, ModelConfig, WorkConfig),
    run=caption_batch,
    positional=command.RUNNER_OPTIONS,
)
