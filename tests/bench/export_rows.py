"""What the rewritten encoders and the search in the graph gain, as ratios measured in one run.

Everything is loaded in a process with TensorFlow's default threads, in one with the recommended
ones, or in both, and all take turns of a few calls: what else the machine does meets them alike.
The weights are random and every caption has the same number of words, which changes what is said
and not how long it takes.
"""

import contextlib
import importlib.util
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import keras
import tensorflow as tf

from export.card import CARD
from export.cpu import densenet, optimize
from export.module import Assets, CaptionModule
from imgcap import files, signature
from imgcap.config import MAX_PIXELS, Config, DecodeConfig, ModelConfig
from imgcap.data.vocabulary import SPECIALS, Vocabulary
from imgcap.errors import ExportError
from imgcap.model.captioner import Captioner, make_captioner
from tests.bench.measurement_table import Row
from tests.bench.notebook_decoding import NotebookCaptioner
from tests.bench.timer import timing_process
from tests.bench.timing import OPENVINO

TIMER = Path(__file__).with_name("timing.py")
CALLS_A_TURN = 3
DEFAULT, RECOMMENDED = "default", "recommended"
ENCODER, NOTEBOOK = "encoder", "notebook"
PRECISIONS = ("f32", "bf16")
ONE, MANY = 1, 16
# As many as a caption of Flickr8k has, in words that its vocabulary holds.
WORDS, VOCABULARY_SIZE = 10, 2543


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
    (optimize.CPU, ONE, RECOMMENDED): 1.5,
    (optimize.CPU, MANY, RECOMMENDED): 1.4,
    (optimize.CPU_BF16, ONE, RECOMMENDED): 3.5,
    (optimize.CPU_BF16, MANY, RECOMMENDED): 5.0,
    (optimize.CPU_BF16, ONE, DEFAULT): 2.1,
    (optimize.CPU_BF16, MANY, DEFAULT): 3.8,
}
DECODE_TARGETS = {optimize.NONE: 1.2, optimize.CPU_BF16: 1.6}
GREEDY_TARGETS = {optimize.NONE: 10.0, optimize.CPU_BF16: 30.0}
SIZE_TARGET = 1.1
# What an export asks a server for (`intra_op_threads` of its manifest).
OWN_THREADS = {optimize.NONE: DEFAULT, optimize.CPU: RECOMMENDED, optimize.CPU_BF16: RECOMMENDED}


def measure(encoder: str, image_size: int, repetitions: int) -> list[Row]:
    """Writes the models, times them and compares.

    Args:
        encoder: as `ModelConfig` names it.
        image_size: pixels, height and width.
        repetitions: turns that everything has.

    Returns:
        The rows of the table; those of bfloat16 are left out, with a printed line, on a CPU that
        has none.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        captioner = _make_captioner(encoder, image_size, folder)
        sizes = _write_models(captioner, image_size, folder)
        medians = _time_all(captioner, image_size, repetitions, folder, list(sizes))
    return [*encoder_rows(medians), *decode_rows(medians), *greedy_rows(medians), *size_rows(sizes)]


def _make_captioner(encoder: str, image_size: int, folder: Path) -> Captioner:
    words = Vocabulary(
        (*SPECIALS, *(f"word{number}" for number in range(VOCABULARY_SIZE - len(SPECIALS))))
    )
    words.save(folder / "vocab.txt")
    files.write_text(folder / CARD, "{}\n")
    model = ModelConfig(encoder=encoder, encoder_weights="none", image_size=image_size)
    return make_captioner(Config(model=model), words)


def _write_models(captioner: Captioner, size: int, folder: Path) -> dict[str, float]:
    """SavedModels `<kind>/encoder` and `<kind>/captioner`; returns bytes on disk ÷ bytes of weights
    by kind.
    """
    sizes = {}
    options = DecodeConfig(min_length=WORDS, max_length=WORDS)
    for kind in (optimize.NONE, optimize.CPU, optimize.CPU_BF16):
        try:
            fast = optimize.make_fast_encoder(captioner.encoder, kind)
        except ExportError as error:
            print(f"left out: {error}")
            continue
        alone = tf.Module()
        alone.weights = [variable.value for variable in fast.variables]
        images = tf.TensorSpec([None, size, size, 3], tf.float32, name="images")
        alone.encode = tf.function(fast.encode, input_signature=[images])
        tf.saved_model.save(alone, str(folder / kind / ENCODER), signatures={ENCODER: alone.encode})
        assets = Assets(folder / "vocab.txt", folder / CARD)
        whole = CaptionModule(captioner, fast, options, size, MAX_PIXELS, assets)
        tf.saved_model.save(whole, str(folder / kind / "captioner"), signatures=whole.signatures())
        sizes[kind] = _bytes_on_disk(folder / kind / "captioner") / _bytes_of_weights(
            captioner, fast
        )
    return sizes


def _bytes_on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _bytes_of_weights(captioner: Captioner, fast: optimize.FastEncoder) -> int:
    decoder = sum(
        4 * variable.value.shape.num_elements() for variable in captioner.decoder.variables
    )
    parts = densenet.read_densenet(captioner.encoder.network) if fast.in_float32 else None
    if parts is None:
        return decoder + sum(
            4 * variable.value.shape.num_elements() for variable in captioner.encoder.variables
        )
    width = tf.as_dtype(fast.numerics).size
    return decoder + width * sum(part.size for part in tf.nest.flatten(parts))


def _cases(kinds: list[str]) -> list[Case]:
    encoders = itertools.product(kinds, (ENCODER,), (DEFAULT, RECOMMENDED), (ONE, MANY))
    cases = [Case(*case) for case in encoders]
    for kind in kinds:
        if kind in DECODE_TARGETS:
            cases.append(Case(kind, signature.DECODE, OWN_THREADS[kind], MANY))
            cases.append(Case(kind, signature.GREEDY, OWN_THREADS[kind], ONE))
    if importlib.util.find_spec(OPENVINO):
        # It has threads of its own.
        cases += [
            Case(f"{OPENVINO} {name}", ENCODER, DEFAULT, rows)
            for name in PRECISIONS
            for rows in (ONE, MANY)
        ]
    else:
        print("left out: OpenVINO's reference lines (pip install openvino)")
    return cases


def _subject(case: Case, folder: Path) -> str:
    """What `timing.py` calls a case."""
    if case.kind.startswith(OPENVINO):
        return f"{case.kind.replace(' ', ':')}:{folder / optimize.NONE / ENCODER}"
    if case.part == ENCODER:
        return f"images:{ENCODER}:{folder / case.kind / ENCODER}"
    return f"image_bytes:{case.part}:{folder / case.kind / 'captioner'}"


def _time_all(
    captioner: Captioner, image_size: int, repetitions: int, folder: Path, kinds: list[str]
) -> dict[Case, float]:
    """Median seconds an image of every case."""
    cases = _cases(kinds)
    subjects = sorted({_subject(case, folder) for case in cases})
    seconds: dict[Case, list[float]] = {case: [] for case in cases}
    foil, image_bytes = Case(NOTEBOOK, signature.GREEDY, DEFAULT, ONE), _picture(image_size)
    notebook = NotebookCaptioner(captioner.encoder, ModelConfig(), VOCABULARY_SIZE, WORDS + 1)
    seconds[foil] = []
    settings = {DEFAULT: (0, 0), RECOMMENDED: (1, _cores())}
    with contextlib.ExitStack() as stack:
        timers = {
            name: stack.enter_context(timing_process(TIMER, *threads, image_size, *subjects))
            for name, threads in settings.items()
        }
        # The first round is for graph optimisation and for primitives to be made.
        for measured in (False, *[True] * repetitions):
            for case in cases:
                subject = subjects.index(_subject(case, folder))
                taken = timers[case.threads](subject, case.batch_size, CALLS_A_TURN)
                seconds[case] += taken if measured else []
            start = time.perf_counter()
            notebook.caption(image_bytes)
            seconds[foil] += [time.perf_counter() - start] if measured else []
    return {case: statistics.median(taken) / case.batch_size for case, taken in seconds.items()}


def _picture(size: int) -> bytes:
    pixels = keras.random.uniform([size // 16, size // 16, 3], 0, 255, seed=0)
    return tf.io.encode_jpeg(
        tf.cast(tf.image.resize(pixels, [size, size], "nearest"), tf.uint8)
    ).numpy()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def encoder_rows(medians: Mapping[Case, float]) -> list[Row]:
    """How many times as fast each encoder is as the ordinary export.

    Args:
        medians: seconds an image. `none` counts with the threads that suit it better.
    """
    rows = []
    for case, median in medians.items():
        if case.part != ENCODER or case.kind == optimize.NONE:
            continue
        plain = min(
            medians[case._replace(kind=optimize.NONE, threads=threads)]
            for threads in (DEFAULT, RECOMMENDED)
        )
        target = ENCODER_TARGETS.get((case.kind, case.batch_size, case.threads))
        name = f"encoder, {case.kind} against none, batch {case.batch_size}, {case.threads} threads"
        rows.append(
            Row(
                name,
                plain / median,
                f"≥ {target:g}" if target else "",
                _milliseconds(median, plain),
            )
        )
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
            encoder, name = (
                medians[case._replace(part=ENCODER)],
                f"decode (beam 3) ÷ encoder, {kind}, batch {MANY}",
            )
            rows.append(
                Row(
                    name,
                    medians[case] / encoder,
                    f"≤ {target:g}",
                    _milliseconds(medians[case], encoder),
                )
            )
    return rows


def greedy_rows(medians: Mapping[Case, float]) -> list[Row]:
    """How many times as fast greedy search in the graph is as a notebook's `predict` a word, from
    JPEG file to caption.

    Args:
        medians: seconds an image.
    """
    foil = medians[Case(NOTEBOOK, signature.GREEDY, DEFAULT, ONE)]
    rows = []
    for kind, target in GREEDY_TARGETS.items():
        case = Case(kind, signature.GREEDY, OWN_THREADS[kind], ONE)
        if case in medians:
            name = f"greedy, {kind} against predict() per word, batch {ONE}"
            rows.append(
                Row(name, foil / medians[case], f"≥ {target:g}", _milliseconds(medians[case], foil))
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
