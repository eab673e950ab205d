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

from imgcap.data.batches import DecodedImages, Position, training_batches
from imgcap.data.prepare.preparation import prepare
from imgcap.data.records import parse_example
from tests.bench.table import Row
from tests.bench.timing import clocked, take_turns
from tests.bench.training import bare
from tests.bench.training.workload import Workload, preparation, repeat_shards

WHOLE, BARE = "whole", "bare"
# Images an epoch of the pipeline, Flickr8k's own number: starting it takes 0.3 s, as much as 1,000
# small photos.
READ_AT_LEAST = 6000


def pipeline_row(work: Workload, repetitions: int) -> Row:
    """Times the input pipeline of images against a loop that only decodes and resizes files that
    are in memory.

    Args:
        work: holds the image shards.
        repetitions: turns that both have.
    """
    images, size = work.prepared.images["train"], work.config.model.image_size
    paths = repeat_shards(work.image_shards(), images, READ_AT_LEAST)
    images = round(images * len(paths) / len(work.image_shards()))
    examples = DecodedImages(work.images_per_batch(), size, augment=True)
    pipeline = training_batches(paths, examples, Position())
    subjects = {
        WHOLE: clocked(_make_drain(pipeline.map(lambda batch: batch.inputs[0, 0, 0, 0]))),
        BARE: clocked(_make_drain(_decoded(paths, size))),
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


def _make_drain(values: tf.data.Dataset) -> Callable[[], object]:
    """A function that reads a data set of float32 [] to its end without a step in Python."""
    return tf.function(lambda: values.reduce(0.0, tf.add))


def _decoded(paths: list[Path], size: int) -> tf.data.Dataset:
    """One value of each decoded and resized image; the files are in memory before timing starts."""
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
    """Times preparing against a loop, in as many processes, that reads and decodes each image once.

    Both fork their processes from one that has imported TensorFlow and that is started before
    timing starts.

    Args:
        work: names the raw images.
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

    medians = take_turns({WHOLE: clocked(prepare_all), BARE: clocked(decode_all)}, repetitions)
    note = (
        f"{len(images) / medians[WHOLE]:.0f} against {len(images) / medians[BARE]:.0f} images/s, "
        f"{processes} processes"
    )
    return Row(
        "prepare against reading and decoding alone", medians[BARE] / medians[WHOLE], "≥ 0.80", note
    )
