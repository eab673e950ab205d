"""Measures the figures of the plan: sizes, and CPU time of one core for each piece of work."""

import csv
import dataclasses
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from imgcap.config import DecodeConfig, TrainConfig
from imgcap.data.batches import DecodedImages, EncodedCaptions, Position, training_batches
from imgcap.data.prepare import shard_writer
from imgcap.data.prepare.tasks import PARTS, ShardTask
from imgcap.data.raw.example import Example
from imgcap.data.text.vocabulary import SPECIALS, Vocabulary
from imgcap.files.locations import file_size
from imgcap.model.captioner import Captioner
from imgcap.model.decoders import make_decoder
from tests.bench.config import BenchConfig, TrainingBenchConfig
from tests.bench.scale.figures import FEW_WORDS, MANY_WORDS, Figures, to_rows
from tests.bench.table import Row
from tests.bench.training.workload import (
    Workload,
    make_step,
    make_workload,
    repeat_shards,
    train_on,
)

IMAGES_AT_ONCE = 16
STEPS = 4
# Images of an epoch, whose start takes as long as a thousand of them.
DECODED = 4000
FLOAT16, FLOAT32 = 2, 4


def measure_scale(bench: BenchConfig, training: TrainingBenchConfig) -> list[Row]:
    """Makes the data in a temporary folder and takes all figures of the plan on it.

    Args:
        bench: names the encoder.
        training: data and sizes; the decoder attends.

    Returns:
        A row a figure, which stands in the place of the ratio.

    Raises:
        DataError: `data_dir` is no prepared data.
        ConfigError: the encoder cannot be loaded.
    """
    with tempfile.TemporaryDirectory() as name:
        print("scale: making the data", flush=True)
        work = make_workload(bench, training, Path(name), decoder="attention")
        print("scale: measuring", flush=True)
        return to_rows(measure_figures(work))


def measure_figures(work: Workload) -> Figures:
    """Takes all figures.

    Args:
        work: whose decoder attends.
    """
    files = sorted((work.raw_dir / "Images").iterdir())
    records = sum(file_size(path) for path in work.image_shards())
    positions, channels = work.encoder.features_shape
    small, large = (_make_words(count) for count in (FEW_WORDS, MANY_WORDS))
    pixels = _decoded(work)
    gradients = [_gradient_bytes(work, words) for words in (small, large)]
    return Figures(
        image_bytes=sum(path.stat().st_size for path in files) / len(files),
        record_bytes=records / work.prepared.images["train"],
        captions=work.prepared.captions["train"] / work.prepared.images["train"],
        prepare_ms=_prepare_ms(work, files),
        decode_ms=_decode_ms(work),
        encode_ms=_encode_ms(work, pixels),
        grid_bytes=FLOAT16 * positions * channels,
        pooled_bytes=FLOAT16 * channels,
        gradient_bytes=gradients[0],
        word_gradient_bytes=(gradients[1] - gradients[0]) / (MANY_WORDS - FEW_WORDS),
        step_ms=_step_ms(work, small),
        large_step_ms=_step_ms(work, large),
        search_ms=_search_ms(work, small, pixels),
        # Last: from here on, a part of the encoder trains.
        block_gradient_bytes=_block_bytes(work),
    )


def cpu_ms(call: Callable[[], object], pieces: int) -> float:
    """CPU time of all threads of this process for one piece of a call, in milliseconds."""
    call()  # Traces graphs, fills caches.
    before = time.process_time()
    call()
    return 1000 * (time.process_time() - before) / pieces


def _make_words(count: int) -> Vocabulary:
    return Vocabulary((*SPECIALS, *(f"word{number}" for number in range(count - len(SPECIALS)))))


def _prepare_ms(work: Workload, files: list[Path]) -> float:
    captions = defaultdict(list)
    with (work.raw_dir / "captions.txt").open(encoding="utf-8", newline="") as file:
        for image, caption in list(csv.reader(file))[1:]:
            captions[image].append(caption)
    examples = [
        Example(path.name, str(path), tuple(captions[path.name]), "train") for path in files
    ]
    folder = work.data_dir.parent / "written"
    (folder / PARTS).mkdir(parents=True, exist_ok=True)
    shard = str(folder / "train-00000-of-00001.tfrecord")
    task = ShardTask(shard, "", examples, work.vocabulary, work.prepared.max_length)
    return cpu_ms(lambda: shard_writer.write(task), len(examples))


def _decoded(work: Workload) -> tf.Tensor:
    """Some images as the encoder sees them: float32 [B, H, W, 3]."""
    examples = DecodedImages(IMAGES_AT_ONCE, work.config.model.image_size, augment=False)
    return next(iter(training_batches(work.image_shards(), examples, Position()))).inputs


def _decode_ms(work: Workload) -> float:
    size = work.config.model.image_size
    examples = DecodedImages(work.images_per_batch(), size, augment=True)
    images, shards = work.prepared.images["train"], work.image_shards()
    paths = repeat_shards(shards, images, DECODED)
    pipeline = training_batches(paths, examples, Position())
    values = pipeline.map(lambda batch: batch.inputs[0, 0, 0, 0])
    drain = tf.function(lambda: values.reduce(0.0, tf.add))
    return cpu_ms(lambda: float(drain()), round(images * len(paths) / len(shards)))


def _encode_ms(work: Workload, pixels: tf.Tensor) -> float:
    encode = tf.function(work.encoder.__call__, autograph=False)
    return cpu_ms(lambda: encode(pixels).numpy(), len(pixels))


def _gradient_bytes(work: Workload, words: Vocabulary) -> float:
    decoder = make_decoder(work.config.model, len(words), work.encoder.features_shape)
    return _bytes_of(decoder.trainable_variables)


def _block_bytes(work: Workload) -> float:
    work.encoder.set_trainable(1, update_statistics=False)
    return _bytes_of(work.encoder.network.trainable_variables)


def _bytes_of(variables: list[keras.Variable]) -> float:
    return FLOAT32 * sum(variable.value.shape.num_elements() for variable in variables)


def _step_ms(work: Workload, words: Vocabulary) -> float:
    train: TrainConfig = dataclasses.replace(work.config.train, precision="float32")
    shape, longest = work.stored.shape, work.prepared.max_length
    examples = EncodedCaptions(train.batch_size, shape, longest)
    paths = work.stored.paths(work.prepared, "train")
    batches = list(training_batches(paths, examples, Position()).take(STEPS))
    step = make_step(work._replace(vocabulary=words), train)
    return cpu_ms(lambda: train_on(step, batches), sum(len(batch.tokens) for batch in batches))


def _search_ms(work: Workload, words: Vocabulary, pixels: tf.Tensor) -> float:
    decoder = make_decoder(work.config.model, len(words), work.encoder.features_shape)
    captioner = Captioner(work.encoder, decoder, words)
    features = work.encoder(pixels)
    options = DecodeConfig()
    search = tf.function(
        lambda: captioner.caption_features(features, options).tokens, autograph=False
    )
    return cpu_ms(lambda: search().numpy(), len(pixels))
