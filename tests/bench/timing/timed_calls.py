"""Script: times calls of SavedModels in a process of its own, since thread settings hold for a
whole process.

Its argument is JSON with `intra_op`, `inter_op` and `subjects` (see `tests.bench.timing.process`).
Each line of standard input asks `<number of the subject> <rows> <calls>`; the seconds of each call
are the answer, in a line.
"""

import functools
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

Call = Callable[[int], object]
"""Runs a batch of so many rows and waits for the answer."""

PATCH = 16  # pixels of one colour in the pictures, so that a JPEG of them is of a photograph's size


def load(subject: dict[str, Any]) -> Call:
    """Loads what is timed.

    Args:
        subject: fields of a `Subject`.
    """
    folder, size, image_file = subject["folder"], subject["image_size"], subject["image_file"]
    if subject["openvino"]:
        encode = _load_openvino(folder, subject["openvino"])
        return lambda rows: encode(_draw_images(rows, size))
    function = _load_model(folder).signatures[subject["signature"]]
    (name,) = function.structured_input_signature[1]

    @functools.cache
    def inputs(rows: int) -> tf.Tensor:
        if image_file:
            return tf.repeat(tf.io.read_file(image_file)[tf.newaxis], rows, axis=0)
        return tf.constant((_draw_images if name == "images" else _draw_files)(rows, size))

    return lambda rows: [output.numpy() for output in function(**{name: inputs(rows)}).values()]


@functools.cache
def _load_model(folder: str) -> Any:
    return tf.saved_model.load(folder)


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


def main(argument: str) -> None:
    """Answers until its input ends."""
    settings = json.loads(argument)
    tf.config.threading.set_intra_op_parallelism_threads(settings["intra_op"])
    tf.config.threading.set_inter_op_parallelism_threads(settings["inter_op"])
    # Loaded when first asked for: not every subject is timed under every setting, and each takes
    # gigabytes.
    loaded = functools.cache(lambda number: load(settings["subjects"][number]))
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
    main(sys.argv[1])
