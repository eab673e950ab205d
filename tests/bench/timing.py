"""Run as a script in a process of its own, since thread settings hold for a whole process: times a
few calls of SavedModels for each line of standard input.

Arguments: intra-op threads, inter-op threads (0 is the default), image size, and the subjects, each
written `<input>:<signature>:<folder>`. The input is `images` for pixels or `image_bytes` for JPEG
files; in place of it `openvino:f32:<folder>` runs the folder's model by OpenVINO at that precision.
"""

import functools
import os
import sys
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

Call = Callable[[int], object]
"""Runs a batch of so many rows and waits for the answer."""

OPENVINO = "openvino"
PATCH = 16  # pixels of one colour in the pictures, so that a JPEG of them is of a photograph's size


def load(subject: str, image_size: int) -> Call:
    """Loads what is to be timed.

    Args:
        subject: as the arguments of this script.
        image_size: pixels, height and width.
    """
    given, signature, folder = subject.split(":", 2)
    if given == OPENVINO:
        run = _load_openvino(folder, signature)
        return lambda rows: run(_draw_images(rows, image_size))
    function = tf.saved_model.load(folder).signatures[signature]
    draw = _draw_images if given == "images" else _draw_files
    inputs = functools.cache(lambda rows: tf.constant(draw(rows, image_size)))
    return lambda rows: [output.numpy() for output in function(**{given: inputs(rows)}).values()]


@functools.cache
def _draw_images(rows: int, image_size: int) -> np.ndarray:
    """float32 [B, H, W, 3] in 0..255."""
    cells = -(-image_size // PATCH)
    colours = np.random.default_rng(0).integers(0, 256, [rows, cells, cells, 3])
    pictures = colours.repeat(PATCH, axis=1).repeat(PATCH, axis=2)[:, :image_size, :image_size]
    return pictures.astype(np.float32)


def _draw_files(rows: int, image_size: int) -> list[bytes]:
    pictures = _draw_images(rows, image_size).astype(np.uint8)
    return [tf.io.encode_jpeg(picture).numpy() for picture in pictures]


def _load_openvino(folder: str, precision: str) -> Callable[[np.ndarray], object]:
    import openvino

    core, compiled = openvino.Core(), {}
    hints = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}

    def encode(images: np.ndarray) -> object:
        # It is at its best on a fixed shape.
        if images.shape not in compiled:
            network = openvino.convert_model(folder)
            network.reshape(images.shape)
            compiled[images.shape] = core.compile_model(network, "CPU", hints)
        return compiled[images.shape](images)

    return encode


def main(intra_op: str, inter_op: str, image_size: str, *subjects: str) -> None:
    """Answers `<number of the subject> <batch size> <calls>` with the seconds of each call, in a
    line.
    """
    tf.config.threading.set_intra_op_parallelism_threads(int(intra_op))
    tf.config.threading.set_inter_op_parallelism_threads(int(inter_op))
    # Loaded when first asked for: not every subject is timed under every setting, and each takes
    # gigabytes.
    loaded = functools.cache(lambda number: load(subjects[number], int(image_size)))
    for line in sys.stdin:
        number, rows, calls = map(int, line.split())
        call = loaded(number)
        # What ran before has its weights in the caches and its threads awake; a server runs one
        # model.
        call(rows)
        seconds = []
        for _ in range(calls):
            start = time.perf_counter()
            call(rows)
            seconds.append(time.perf_counter() - start)
        print(*seconds, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
