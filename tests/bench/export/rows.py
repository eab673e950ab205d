"""Ratios of exports and their targets, from seconds an image."""

from collections.abc import Mapping
from typing import NamedTuple

from export.cpu import CPU, CPU_BF16, NONE
from imgcap import signature
from tests.bench.export.models import ENCODER
from tests.bench.table import Row

DEFAULT, RECOMMENDED = "default", "recommended"
NOTEBOOK = "notebook"
ONE, MANY = 1, 16


class Case(NamedTuple):
    """One thing that is timed.

    Attributes:
        kind: 'none', 'cpu' or 'cpu_bf16'; 'openvino f32' or 'openvino bf16'; 'notebook'.
        part: 'encoder' from pixels to features, or the signature 'decode' or 'greedy' from JPEG
            files to captions.
        threads: 'default' or 'recommended'.
        batch_size: B.
    """

    kind: str
    part: str
    threads: str
    batch_size: int


# Of `optimize`, batch size and threads, against `none`.
ENCODER_TARGETS = {
    (CPU, ONE, RECOMMENDED): 1.5,
    (CPU, MANY, RECOMMENDED): 1.4,
    (CPU_BF16, ONE, RECOMMENDED): 3.5,
    (CPU_BF16, MANY, RECOMMENDED): 5.0,
    (CPU_BF16, ONE, DEFAULT): 2.1,
    (CPU_BF16, MANY, DEFAULT): 3.8,
}
DECODE_TARGETS = {NONE: 1.2, CPU_BF16: 1.6}
GREEDY_TARGETS = {NONE: 10.0, CPU_BF16: 30.0}
SIZE_TARGET = 1.1
# What an export asks a server for (`intra_op_threads` of its manifest).
OWN_THREADS = {NONE: DEFAULT, CPU: RECOMMENDED, CPU_BF16: RECOMMENDED}


def encoder_rows(medians: Mapping[Case, float]) -> list[Row]:
    """How many times as fast each encoder is as that of the ordinary export.

    Args:
        medians: seconds an image. `none` counts with the threads that suit it better.
    """
    rows = []
    for case, median in medians.items():
        if case.part != ENCODER or case.kind == NONE:
            continue
        plain = min(
            medians[case._replace(kind=NONE, threads=threads)] for threads in (DEFAULT, RECOMMENDED)
        )
        target = ENCODER_TARGETS.get((case.kind, case.batch_size, case.threads))
        name = f"encoder, {case.kind} against none, batch {case.batch_size}, {case.threads} threads"
        bound = f"≥ {target:g}" if target else ""
        rows.append(Row(name, plain / median, bound, _milliseconds(median, plain)))
    return rows


def decode_rows(medians: Mapping[Case, float]) -> list[Row]:
    """How many times as long beam search from JPEG files takes as the encoder alone from pixels.

    Args:
        medians: seconds an image.
    """
    rows = []
    for kind, target in DECODE_TARGETS.items():
        case = Case(kind, signature.DECODE, OWN_THREADS[kind], MANY)
        if case in medians:
            decode, encoder = medians[case], medians[case._replace(part=ENCODER)]
            name = f"decode (beam 3) ÷ encoder, {kind}, batch {MANY}"
            rows.append(
                Row(name, decode / encoder, f"≤ {target:g}", _milliseconds(decode, encoder))
            )
    return rows


def greedy_rows(medians: Mapping[Case, float]) -> list[Row]:
    """How many times as fast greedy search in the graph is as a notebook's `predict` a word, from
    JPEG file to caption.

    Args:
        medians: seconds an image.
    """
    notebook = medians[Case(NOTEBOOK, signature.GREEDY, DEFAULT, ONE)]
    rows = []
    for kind, target in GREEDY_TARGETS.items():
        case = Case(kind, signature.GREEDY, OWN_THREADS[kind], ONE)
        if case in medians:
            name = f"greedy, {kind} against predict() per word, batch {ONE}"
            greedy = medians[case]
            rows.append(
                Row(name, notebook / greedy, f"≥ {target:g}", _milliseconds(greedy, notebook))
            )
    return rows


def size_rows(sizes: Mapping[str, float]) -> list[Row]:
    """How large exports are.

    Args:
        sizes: bytes on disk ÷ bytes of weights, by what was done to the encoder.
    """
    note = "all signatures; graph, vocabulary and weights"
    return [
        Row(f"size on disk ÷ weights, {kind}", size, f"≤ {SIZE_TARGET}", note)
        for kind, size in sizes.items()
    ]


def _milliseconds(one: float, other: float) -> str:
    return f"{1000 * one:.1f} against {1000 * other:.1f} ms an image"
