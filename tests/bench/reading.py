"""What reading images costs beside decoding them: in the input pipeline, and in preparing."""

import contextlib
import io
import itertools
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import tensorflow as tf

from imgcap.data.batches import training_images
from imgcap.data.prepare.preparation import prepare
from imgcap.data.records import parse_example
from tests.bench import bare
from tests.bench.measurement_table import Row
from tests.bench.turns import take_turns
from tests.bench.workload import Workload, preparation, repeat_shards

WHOLE, BARE = "whole", "bare"
# Images an epoch of the pipeline, Flickr8k's own number: starting it takes 0.3 s, as much as 1,000
# small photos.
READ_AT_LEAST = 6000


def pipeline_row(work: Workload, repetitions: int) -> Row:
    """The input pipeline of images against a loop that only decodes and resizes what lies in
    memory.

    Args:
        work: has the shards.
        repetitions: turns that both have.
    """
    images, size = work.prepared.images["train"], work.config.model.image_size
    paths = repeat_shards(work.image_shards(), images, READ_AT_LEAST)
    images = round(images * len(paths) / len(work.image_shards()))
    decoded = training_images(
        paths, images=work.images_per_batch(), image_size=size, augment=True, seed=0, epoch=0
    )
    subjects = {
        WHOLE: _drainer(decoded.map(lambda batch: batch.inputs[0, 0, 0, 0])),
        BARE: _drainer(_decoded(paths, size)),
    }
    medians = take_turns(subjects, repetitions)
    note = (
        f"{images / medians[WHOLE]:.0f} against {images / medians[BARE]:.0f} images/s, same threads"
    )
    return Row(
        "image pipeline against decoding and resizing alone",
        medians[BARE] / medians[WHOLE],
        "≥ 0.90",
        note,
    )


def _drainer(values: tf.data.Dataset) -> Callable[[], object]:
    """Reads a data set of float32 [] from its start to its end without a step in Python."""
    return tf.function(lambda: values.reduce(0.0, tf.add))


def _decoded(paths: list[Path], size: int) -> tf.data.Dataset:
    """One value of each decoded and resized image; the files are in memory before the clock
    starts.
    """
    records = tf.data.TFRecordDataset([str(path) for path in paths]).map(
        lambda record: parse_example(record).image_bytes
    )
    image_bytes = list(records.as_numpy_iterator())

    def decode(data: tf.Tensor) -> tf.Tensor:
        # As `imgcap.data.image` decodes and resizes a photo.
        pixels = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")
        return tf.image.resize(pixels, [size, size], "area")[0, 0, 0]

    return tf.data.Dataset.from_tensor_slices(image_bytes).map(
        decode, num_parallel_calls=tf.data.AUTOTUNE
    )


def prepare_row(work: Workload, repetitions: int) -> Row:
    """Preparing against a loop, in as many processes, that reads and decodes each image once.

    Both fork their processes from one that has imported TensorFlow, and that is started before the
    clock is.

    Args:
        work: has the raw images.
        repetitions: turns that both have.
    """
    numbers = itertools.count()
    images = sorted(str(path) for path in (work.raw_dir / "Images").iterdir())
    folder, processes = work.data_dir.parent, os.cpu_count() or 1

    def prepare_all() -> None:
        with contextlib.redirect_stderr(io.StringIO()):
            prepare(preparation(work.raw_dir, folder / f"prepared_{next(numbers)}"))

    def decode_all() -> None:
        with ProcessPoolExecutor(processes, multiprocessing.get_context("forkserver")) as pool:
            list(
                pool.map(
                    bare.decode_files, [images[index::processes] for index in range(processes)]
                )
            )

    medians = take_turns({WHOLE: prepare_all, BARE: decode_all}, repetitions)
    note = (
        f"{len(images) / medians[WHOLE]:.0f} against {len(images) / medians[BARE]:.0f} images/s, "
        f"{processes} processes"
    )
    return Row(
        "prepare against reading and decoding alone", medians[BARE] / medians[WHOLE], "≥ 0.80", note
    )
