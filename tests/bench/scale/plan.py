"""The arithmetic of the plan: pure functions of measured figures and assumptions.

Times are in seconds, prices in US dollars, sizes in bytes.
"""

import math
from typing import NamedTuple

from tests.bench.scale.assumptions import Assumptions, Size
from tests.bench.scale.figures import FEW_WORDS, MANY_WORDS, Figures

HOUR, MEGA, GIGA = 3600.0, 1e6, 1e9
# imgcap/data/prepare/sharding.py: images are counted in so many bins.
MOST_SHARDS = 2**16


class Storage(NamedTuple):
    """What a data set takes on disk.

    Attributes:
        images: bytes of the image files.
        records: bytes of all shards.
        shards: how many.
        shard: bytes of each.
        pooled: bytes of stored features, averaged, all views.
        grid: the same with all positions.
        month: price of records and grid for a month.
    """

    images: float
    records: float
    shards: int
    shard: float
    pooled: float
    grid: float
    month: float


def storage(figures: Figures, given: Assumptions, size: Size) -> Storage:
    """Sizes of a data set."""
    records = size.images * figures.record_bytes
    shards = min(MOST_SHARDS, max(1, math.ceil(records / given.shard_bytes)))
    pooled, grid = (
        size.images * given.views * one for one in (figures.pooled_bytes, figures.grid_bytes)
    )
    month = (records + grid) / GIGA * given.gigabyte_month
    return Storage(
        size.images * figures.image_bytes, records, shards, records / shards, pooled, grid, month
    )


class Job(NamedTuple):
    """A job that can be spread over any number of workers.

    Attributes:
        core_seconds: CPU time of all workers.
        alone: seconds on one machine.
        workers: machines that end it in the hours that are given.
        seconds: that they need.
        price: of their cores, and of reading each image as a file of its own if that is done.
        reading: seconds in which one machine's link alone would have read all of it.
    """

    core_seconds: float
    alone: float
    workers: int
    seconds: float
    price: float
    reading: float


def _job(given: Assumptions, core_seconds: float, read: float, requests: float) -> Job:
    reading = read / given.storage_speed
    alone = given.start_seconds + max(core_seconds / given.cores, reading)
    workers = max(1, math.ceil(alone / (given.hours * HOUR)))
    seconds = given.start_seconds + (alone - given.start_seconds) / workers
    price = core_seconds / HOUR * given.core_hour + requests / MEGA * given.million_reads
    return Job(core_seconds, alone, workers, seconds, price, reading)


def preparing(figures: Figures, given: Assumptions, size: Size) -> Job:
    """From image files to shards; by Beam if one machine is not enough."""
    local = size.images * figures.prepare_ms / 1000
    files = size.images * figures.image_bytes
    job = _job(given, local, files, size.images)
    if job.workers == 1:
        return job
    return _job(given, local * given.beam_factor, files, size.images)


def caption_ms(figures: Figures) -> float:
    """CPU time of an image from its bytes to its caption."""
    return figures.decode_ms + figures.encode_ms + figures.search_ms


def captioning(figures: Figures, given: Assumptions, size: Size) -> Job:
    """From image files to answers, by CPUs."""
    files = size.images * figures.image_bytes
    return _job(given, size.images * caption_ms(figures) / 1000, files, size.images)


class Features(NamedTuple):
    """Storing features, which the chief does alone.

    Attributes:
        core_seconds: CPU time.
        machine: seconds on a machine without GPUs.
        gpu: seconds with one GPU, by the assumed speed, decoding and writing included.
        writing: seconds in which the link alone would have written them.
    """

    core_seconds: float
    machine: float
    gpu: float
    writing: float


def storing_features(figures: Figures, given: Assumptions, size: Size) -> Features:
    """Encoding all views of all images."""
    views = size.images * given.views
    decoding = size.images * figures.decode_ms / 1000
    encoding = views * figures.encode_ms / 1000
    writing = views * figures.grid_bytes / given.storage_speed
    gpu = max(encoding / given.gpu_cores, decoding / given.cores, writing)
    core_seconds = decoding + encoding
    return Features(core_seconds, max(core_seconds / given.cores, writing), gpu, writing)


def gradient(figures: Figures, words: int) -> float:
    """Bytes that a step must add up over all GPUs."""
    return figures.gradient_bytes + (words - FEW_WORDS) * figures.word_gradient_bytes


def step_ms(figures: Figures, words: int) -> float:
    """CPU time of a caption in a step, between the two measured vocabularies on a line."""
    slope = (figures.large_step_ms - figures.step_ms) / (MANY_WORDS - FEW_WORDS)
    return max(0.0, figures.step_ms + (words - FEW_WORDS) * slope)


class Exchange(NamedTuple):
    """Adding up gradients over GPUs in one step, by rings.

    Attributes:
        sent: bytes that each GPU sends.
        inside: seconds if all GPUs are in one machine; None if they do not fit.
        fast: seconds over 100 Gbit/s between machines; None if they fit in one.
        slow: the same over 25 Gbit/s.
    """

    sent: float
    inside: float | None
    fast: float | None
    slow: float | None

    def seconds(self) -> float:
        """Over the better link."""
        return self.inside if self.inside is not None else self.fast or 0.0


def exchange(summed: float, given: Assumptions, gpus: int) -> Exchange:
    """Time to add up gradients.

    In a ring of n, each sends 2 (n - 1) / n of the gradient. NCCL adds up inside a machine first,
    so that each machine sends its share over its link once.

    Args:
        summed: bytes of the gradient.
        given: link speeds.
        gpus: how many, in machines of `given.gpus`.
    """
    sent = 2 * (gpus - 1) / gpus * summed
    if gpus <= given.gpus:
        return Exchange(sent, sent / given.inside_speed, None, None)
    machines = math.ceil(gpus / given.gpus)
    inside = 2 * (given.gpus - 1) / given.gpus * summed / given.inside_speed
    between = 2 * (machines - 1) / machines * summed
    return Exchange(
        sent, None, inside + between / given.fast_speed, inside + between / given.slow_speed
    )


class Training(NamedTuple):
    """An epoch on stored features, one caption a row, on some GPUs.

    Attributes:
        steps: of the epoch.
        compute: seconds of a step on the GPUs, by their assumed speed.
        exchange: seconds in which gradients are added up.
        reading: seconds of a step in which a machine reads the whole global batch, as each does.
        epoch: seconds.
        price: of the GPUs.
    """

    steps: float
    compute: float
    exchange: float
    reading: float
    epoch: float
    price: float

    def binds(self) -> str:
        """What takes the longest of a step."""
        return max(("compute", "exchange", "reading"), key=lambda name: getattr(self, name))


def training(
    figures: Figures, given: Assumptions, size: Size, gpus: int, feature_bytes: float
) -> Training:
    """Time of an epoch if each GPU has `given.gpu_captions` in a step.

    Reading goes on while the GPUs compute; the exchange waits for them.

    Args:
        figures: measured.
        given: assumed.
        size: of the data set.
        gpus: how many.
        feature_bytes: of one image and view, which each of its captions reads.
    """
    batch = gpus * given.gpu_captions
    steps = size.images * figures.captions / batch
    cores = step_ms(figures, size.words) / 1000 * given.gpu_captions
    compute = cores / given.gpu_cores
    exchanged = exchange(gradient(figures, size.words), given, gpus).seconds()
    # The pipeline reads an image's record once an epoch and takes its captions out of it.
    reading = batch / figures.captions * given.views * feature_bytes / given.storage_speed
    epoch = given.start_seconds + steps * max(compute + exchanged, reading)
    return Training(steps, compute, exchanged, reading, epoch, epoch / HOUR * gpus * given.gpu_hour)


def least_step(summed: float, given: Assumptions, gpus: int) -> tuple[float, float]:
    """The step time below which the exchange takes more than its share, over either link.

    Returns:
        Seconds over the better link, and over 25 Gbit/s between machines.
    """
    found = exchange(summed, given, gpus)
    return found.seconds() / given.share, (found.slow or found.seconds()) / given.share
