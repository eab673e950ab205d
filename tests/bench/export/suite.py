"""Times what is exported: encoders, searches and a notebook's loop, taking turns in one run.

Everything is loaded in a process with TensorFlow's default threads, in one with the recommended
ones, or in both. The weights are random.
"""

import contextlib
import importlib.util
import itertools
import os
import tempfile
from pathlib import Path

import keras
import tensorflow as tf

from export.cpu import NONE
from imgcap import signature
from imgcap.config import ModelConfig
from imgcap.model.captioner import Captioner
from tests.bench.config import BenchConfig
from tests.bench.export import models
from tests.bench.export.models import CAPTIONER, ENCODER, WORDS
from tests.bench.export.rows import (
    DECODE_TARGETS,
    DEFAULT,
    MANY,
    NOTEBOOK,
    ONE,
    OWN_THREADS,
    RECOMMENDED,
    Case,
    decode_rows,
    encoder_rows,
    greedy_rows,
    size_rows,
)
from tests.bench.notebook import NotebookCaptioner
from tests.bench.table import Row
from tests.bench.timing import Subject, Timer, clocked, take_turns, timing_process
from tests.bench.timing.turns import Turn

CALLS_A_TURN = 3
OPENVINO = "openvino"
PRECISIONS = ("f32", "bf16")


def measure_export(bench: BenchConfig) -> list[Row]:
    """Writes the models, times them and compares; several processes hold the models at once.

    Args:
        bench: names the encoder, and how many turns everything has.

    Returns:
        The rows of the table; those of bfloat16 are left out, with a printed line, on a CPU that
        has none.

    Raises:
        ConfigError: the encoder cannot be loaded.
        RunError: a timing process ended.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print("export: writing the models", flush=True)
        captioner = models.build_captioner(bench.encoder, bench.image_size, folder)
        sizes = models.write_models(captioner, bench.image_size, folder)
        print("export: calling them", flush=True)
        medians = _time_all(captioner, bench, folder, list(sizes))
    return [*encoder_rows(medians), *decode_rows(medians), *greedy_rows(medians), *size_rows(sizes)]


def _time_all(
    captioner: Captioner, bench: BenchConfig, folder: Path, kinds: list[str]
) -> dict[Case, float]:
    """Median seconds an image of every case."""
    subjects = {case: _subject(case, bench.image_size, folder) for case in _cases(kinds)}
    notebook = NotebookCaptioner(
        captioner.encoder, ModelConfig().units, models.VOCABULARY_SIZE, WORDS + 1
    )
    image_bytes = _draw_picture(bench.image_size)
    threads = {DEFAULT: (0, 0), RECOMMENDED: (1, _cores())}
    with contextlib.ExitStack() as stack:
        timers = {
            name: stack.enter_context(
                timing_process(list(dict.fromkeys(subjects.values())), *counts)
            )
            for name, counts in threads.items()
        }
        turns = {
            case: _make_turn(timers[case.threads], subject, case.batch_size)
            for case, subject in subjects.items()
        }
        turns[Case(NOTEBOOK, signature.GREEDY, DEFAULT, ONE)] = clocked(
            lambda: notebook.caption(image_bytes)
        )
        medians = take_turns(turns, bench.repetitions)
    return {case: median / case.batch_size for case, median in medians.items()}


def _make_turn(timer: Timer, subject: Subject, batch_size: int) -> Turn:
    return lambda: timer(subject, batch_size, CALLS_A_TURN)


def _cases(kinds: list[str]) -> list[Case]:
    """All cases of the given kinds of export, and OpenVINO's if it is installed."""
    encoders = itertools.product(kinds, (ENCODER,), (DEFAULT, RECOMMENDED), (ONE, MANY))
    cases = [Case(*case) for case in encoders]
    for kind in kinds:
        if kind in DECODE_TARGETS:
            cases.append(Case(kind, signature.DECODE, OWN_THREADS[kind], MANY))
            cases.append(Case(kind, signature.GREEDY, OWN_THREADS[kind], ONE))
    if importlib.util.find_spec(OPENVINO):
        # It has threads of its own.
        cases += [
            Case(f"{OPENVINO} {precision}", ENCODER, DEFAULT, rows)
            for precision in PRECISIONS
            for rows in (ONE, MANY)
        ]
    else:
        print("left out: OpenVINO's reference lines (pip install openvino)")
    return cases


def _subject(case: Case, image_size: int, folder: Path) -> Subject:
    """What is called in a case."""
    if case.kind.startswith(OPENVINO):
        precision = case.kind.removeprefix(f"{OPENVINO} ")
        return Subject(str(folder / NONE / ENCODER), ENCODER, image_size, openvino=precision)
    model = ENCODER if case.part == ENCODER else CAPTIONER
    return Subject(str(folder / case.kind / model), case.part, image_size)


def _draw_picture(size: int) -> bytes:
    """A JPEG file of patches in random colours."""
    pixels = keras.random.uniform([size // 16, size // 16, 3], 0, 255, seed=0)
    return tf.io.encode_jpeg(
        tf.cast(tf.image.resize(pixels, [size, size], "nearest"), tf.uint8)
    ).numpy()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
