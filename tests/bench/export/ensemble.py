"""`python -m tests.bench.export.ensemble`: what an ensemble costs beside one of its members.

Both caption the same images by the signature `decode`, taking turns in one process. The encoder,
which they share, works once for each image; the members' decoders may run in parallel.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from imgcap.cli import command
from imgcap.config import MAX_PIXELS, DecodeConfig, ModelConfig, Section, setting
from tests.bench.table import Row, measure_and_keep

if TYPE_CHECKING:
    from export.module import Assets
    from imgcap.model.captioner import Captioner

IMAGES = 16
TARGET = "≤ 1.25"


@dataclass(frozen=True)
class EnsembleBenchConfig(Section):
    """The captioners that are compared; their weights are random."""

    encoder: str = setting(
        "densenet201",
        "A keras.applications model in lower case, or a .keras file.",
        required=True,
        path=True,
    )
    image_size: int = setting(
        224, "Height and width, in pixels, that the encoder sees.", minimum=32
    )
    decoder: str = setting(
        "attention",
        "Decoder of all members.",
        choices=("pre_inject", "par_inject", "inject_and_merge", "attention", "adaptive"),
    )
    optimize: str = setting(
        "cpu", "As imgcap-export takes it.", choices=("none", "cpu", "cpu_bf16")
    )
    members: int = setting(3, "Members of the ensemble.", minimum=1)
    repetitions: int = setting(9, "Measured turns; the medians count.", minimum=1)
    output: str = setting(
        "",
        "JSON file for the rows, beside those of other benchmarks; empty writes none.",
        path=True,
    )


class Taken(NamedTuple):
    """What a call took.

    Attributes:
        wall: seconds.
        cpu: seconds of all threads.
    """

    wall: float
    cpu: float


def run(config: EnsembleBenchConfig, arguments: list[str]) -> None:
    """Times both, prints the table and keeps it."""
    del arguments
    measure_and_keep("ensemble", config.output, lambda: measure(config))


def measure(config: EnsembleBenchConfig) -> list[Row]:
    """Times one member and the ensemble by turns.

    Args:
        config: what is compared.

    Returns:
        A row of wall time and one of CPU time.
    """
    import tensorflow as tf

    from imgcap.model.captioner import Captioner, join_captioner, make_captioner_encoder
    from imgcap.model.decoders import Ensemble
    from tests.bench.export.models import write_assets
    from tests.bench.export.rows import OWN_THREADS, RECOMMENDED

    cores = len(os.sched_getaffinity(0))
    if OWN_THREADS[config.optimize] == RECOMMENDED:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(cores)
    model = ModelConfig(
        encoder=config.encoder,
        encoder_weights="none",
        image_size=config.image_size,
        decoder=config.decoder,
    )
    with tempfile.TemporaryDirectory() as name:
        words = write_assets(Path(name))
        encoder = make_captioner_encoder(model)
        members = [
            join_captioner(encoder, model, words.vocabulary).decoder for _ in range(config.members)
        ]
        ensemble = Ensemble(members, [1 / len(members)] * len(members), "log")
        alone, together = (
            _make_decode(Captioner(encoder, decoder, words.vocabulary), config, words.assets)
            for decoder in (members[0], ensemble)
        )
        pixels = np.random.default_rng(0).integers(0, 256, [IMAGES, *[config.image_size] * 2, 3])
        images = tf.stack([tf.io.encode_jpeg(each) for each in pixels.astype(np.uint8)])
        taken = _take_turns(
            lambda: alone(images), lambda: together(images), repetitions=config.repetitions
        )
    names = (
        f"decode, {config.members} × {config.decoder} against one, {config.optimize}, batch "
        f"{IMAGES}, {cores} cores"
    )
    return ensemble_rows(names, *taken)


def _make_decode(
    captioner: "Captioner", config: EnsembleBenchConfig, assets: "Assets"
) -> Callable[[Any], object]:
    """The signature `decode` of an export, as a function of image files string [B]."""
    from export.cpu import make_fast_encoder
    from export.module import CaptionModule
    from export.searches import choose_searches
    from imgcap.model.caption_graph import CaptionGraph
    from tests.bench.export.models import WORDS

    fast = make_fast_encoder(captioner.encoder, config.optimize)
    graph = CaptionGraph(captioner, config.image_size, MAX_PIXELS, None, fast.encode)
    options = DecodeConfig(min_length=WORDS, max_length=WORDS)
    module = CaptionModule(graph, choose_searches(options, {}), [], assets)
    return module.decode.get_concrete_function()


def _take_turns(*calls: Callable[[], object], repetitions: int) -> list[list[Taken]]:
    """Makes each call again and again, one after the other; the first of each is not measured."""
    taken: list[list[Taken]] = [[] for _ in calls]
    for measured in (False, *[True] * repetitions):
        for call, each in zip(calls, taken, strict=True):
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            if measured:
                each.append(Taken(time.perf_counter() - wall, time.process_time() - cpu))
    return taken


def ensemble_rows(names: str, alone: Sequence[Taken], together: Sequence[Taken]) -> list[Row]:
    """Rows of how many times as long an ensemble takes as one member.

    Args:
        names: of what is compared.
        alone: what the calls of one member took.
        together: what those of the ensemble took, each right after one of the member.

    Returns:
        A row of wall time and one of CPU time: medians over the turns.
    """
    rows = []
    for field, target in (("wall", TARGET), ("cpu", "")):
        one, several = ([getattr(each, field) for each in taken] for taken in (alone, together))
        ratio = statistics.median(b / a for a, b in zip(one, several, strict=True))
        per_image = (1000 * statistics.median(taken) / IMAGES for taken in (several, one))
        note = "{:.1f} against {:.1f} ms an image".format(*per_image)
        rows.append(Row(f"{names}, {field} time", ratio, target, note))
    return rows


COMMAND = command.Command(
    name="python -m tests.bench.export.ensemble",
    summary="Captions the same images by an ensemble and by one of its members, with random "
    "weights, and says how many times as long the ensemble takes.",
    sections=(EnsembleBenchConfig,),
    run=run,
    tensorflow=True,
)

if __name__ == "__main__":
    sys.exit(command.main(COMMAND))
