"""What the plan assumes and nobody measured here: prices, links, and how fast a GPU is."""

from typing import NamedTuple

GIGABYTE = 1e9


class Size(NamedTuple):
    """A data set of the plan.

    Attributes:
        images: how many.
        words: of its vocabulary.
    """

    images: int
    words: int


# A few hundred photos of one's own; Flickr8k; a large labelled set; a crawl of the web.
SIZES = (Size(300, 500), Size(8_000, 2_543), Size(1_000_000, 10_000), Size(100_000_000, 30_000))
GPUS = (1, 2, 4, 8, 16, 32, 64)


class Assumptions(NamedTuple):
    """Round numbers; each can be changed here, and the tables follow.

    Attributes:
        core_hour: price of a core for an hour, US dollars.
        gpu_hour: price of a GPU for an hour, its share of the machine included, US dollars.
        gigabyte_month: price of a gigabyte in object storage for a month, US dollars.
        million_reads: price of a million read requests to it, US dollars.
        cores: of a machine without GPUs.
        gpus: of a machine with GPUs, at most.
        storage_speed: bytes a second that a machine reads from storage.
        inside_speed: bytes a second from GPU to GPU in a machine, one way.
        fast_speed: bytes a second from machine to machine, 100 Gbit/s, one way.
        slow_speed: the same at 25 Gbit/s.
        gpu_cores: how many cores do as much of a step, or of the encoder, as one GPU.
        gpu_captions: captions of a GPU in a step.
        share: of a step that the exchange of gradients may take.
        shard_bytes: of a shard, about.
        start_seconds: of a command, until TensorFlow is loaded.
        beam_factor: CPU time by Beam ÷ CPU time by the local road.
        hours: in which a bulk job should end.
        views: of each image that are stored as features.
        answer_bytes: of a caption in a file of answers.
    """

    core_hour: float = 0.04
    gpu_hour: float = 3.0
    gigabyte_month: float = 0.02
    million_reads: float = 0.4
    cores: int = 8
    gpus: int = 8
    storage_speed: float = 1 * GIGABYTE
    inside_speed: float = 200 * GIGABYTE
    fast_speed: float = 12.5 * GIGABYTE
    slow_speed: float = 3.125 * GIGABYTE
    gpu_cores: float = 200
    gpu_captions: int = 64
    share: float = 0.1
    shard_bytes: float = 200e6
    start_seconds: float = 10
    beam_factor: float = 2
    hours: float = 8
    views: int = 2
    answer_bytes: float = 600


# Why each is what it is, for the document; the names are those of the fields.
REASONS = {
    "core_hour": ("$0.04", "general machines of the large clouds: about 0.03 to 0.05"),
    "gpu_hour": ("$3", "round number for a GPU of a data centre"),
    "gigabyte_month": ("$0.02", "object storage of the large clouds: 0.020 to 0.023"),
    "million_reads": ("$0.4", "GET requests of the same: $0.0004 a thousand"),
    "cores": ("8", "round number"),
    "gpus": ("8", "usual in data centres"),
    "storage_speed": ("1 GB/s", "a link of 10 Gbit/s, four fifths of it used"),
    "inside_speed": ("200 GB/s", "NVLink, less than half of what its makers name"),
    "fast_speed": ("12.5 GB/s", "100 Gbit/s"),
    "slow_speed": ("3.125 GB/s", "25 Gbit/s"),
    "gpu_cores": ("200", "round number; the first thing to measure on a GPU"),
    "gpu_captions": ("64", "`--batch_size` of the recipe, for each GPU"),
    "share": ("10 %", "round number"),
    "shard_bytes": ("200 MB", "a core writes it in a minute, and thousands of them can be listed"),
    "start_seconds": ("10 s", "seen here: 5 to 15"),
    "beam_factor": ("2", "on one machine [1.1 to 1.4](../measurements.md#work-in-bulk); a bound"),
    "hours": ("8", "a night"),
    "views": ("2", "`--cached_views=2`, as in the recipes"),
    "answer_bytes": ("600", "a line of JSON: name, captions of the beam, scores"),
}
