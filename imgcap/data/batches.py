"""Shards → tf.data, for training and for evaluation.

The order of the operations, and why:

1. *Shard order, then interleave*: whole files are shuffled first, which costs nothing; a few are
   read at once, so that one slow file does not stall the rest.
2. *Shuffle of serialised records*, before anything is decoded: a decoded image is 600 KB, an
   encoded one 15-100 KB.
3. *Global batches* are made before decoding, too: every worker and every replica sees the same
   sequence of global batches and then takes its own rows. So the curve does not depend on how many
   replicas there are, a run can be resumed in the middle of an epoch by skipping batches that were
   never decoded, and no worker decodes another's rows.
4. *Decode and augment* in parallel, then *prefetch*, so that the device never waits.

Everything random is a function of (seed, epoch, position), never of time or of a thread's luck.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import tensorflow as tf

from imgcap.data import image
from imgcap.data.records import ParsedRecord, decode_features, parse_examples
from imgcap.data.shards import read_records

# Serialised images held for shuffling: 2,048 photos of 100 KB are 200 MB.
SHUFFLED_IMAGES = 2048
# Records parsed by one call, where they are not in batches yet.
PARSED_AT_ONCE = 32
# Captions held for shuffling; those of one image share its features' memory.
SHUFFLED_CAPTIONS = 16384
# Captions of one batch differ by less than this many tokens: little padding, and still short and
# long ones together.
LENGTH_STEP = 4
# Batches held for shuffling. An epoch's part-filled batches come last and sorted by length; trained
# in that order, the longest captions had the last word, and the model forgot how to end (dev CIDEr
# 11.7 instead of 18.9 after 2 epochs).
SHUFFLED_BATCHES = 32

OUT_OF_ORDER = "a data service has more than one worker, so its batches come twice or in any order"

Number = TypeVar("Number", int, tf.Tensor)


class Batch(NamedTuple):
    """What a training step gets.

    Attributes:
        inputs: images float32 [B, H, W, 3] in 0..255, or stored features float16 [B, L, C].
        tokens: int32 [B, N, T], N captions an image, start token first, padded with 0; rows of
            padding only stand in for captions or images that are not there.
    """

    inputs: tf.Tensor
    tokens: tf.Tensor


class EvaluationBatch(NamedTuple):
    """What evaluation gets.

    Attributes:
        number: int64 [B], place in the split; -1 in rows that only fill the last batch up.
        inputs: images float32 [B, H, W, 3] in 0..255, or stored features float16 [B, L, C].
    """

    number: tf.Tensor
    inputs: tf.Tensor


class Rows(NamedTuple):
    """Which rows of each global batch this input pipeline delivers: replica r of R takes rows r, r
    + R, r + 2R, …

    Attributes:
        first: number of its first replica.
        count: replicas it feeds, one after the other.
        replicas: replicas in all.
    """

    first: int = 0
    count: int = 1
    replicas: int = 1


ONE_REPLICA = Rows()


def training_images(
    paths: Sequence[Path],
    *,
    images: int,
    image_size: int,
    augment: bool,
    random_crop: float = 1.0,
    seed: int,
    epoch: int,
    start: int = 0,
    rows: Rows = ONE_REPLICA,
    skip_bad: bool = False,
    services: Sequence[str] = (),
) -> tf.data.Dataset:
    """One epoch of decoded images with all their captions.

    Args:
        paths: image shards.
        images: images in a global batch.
        image_size: pixels, height and width.
        augment: whether each image is mirrored half of the time.
        random_crop: share of each image's area that a random crop keeps at least; 1 crops nothing.
        seed: of the run.
        epoch: counted from 0; another order in each.
        start: global batches to skip, those that were trained before an interruption.
        rows: this pipeline's share of each global batch.
        skip_bad: whether to go on without records that can't be read.
        services: addresses of tf.data services of one worker each; number i of n makes the batches
            i, i + n, …

    Returns:
        A data set of `Batch`, each for one replica; the same with services and without.
    """
    epoch_seed = _epoch_seed(seed, epoch)

    def decode(number: tf.Tensor, record: ParsedRecord) -> tf.Tensor:
        decoded = image.decode(record.image_bytes, image_size)
        draw = tf.stack([epoch_seed, tf.cast(number, tf.int32)])
        if random_crop < 1:
            decoded = image.random_crop(decoded, draw, random_crop)
        return image.random_flip(decoded, draw) if augment else decoded

    return _whole_images(paths, decode, images, epoch_seed, start, rows, skip_bad, services)


def training_encoded(
    paths: Sequence[Path],
    *,
    images: int,
    features_shape: Sequence[int],
    views: int = 1,
    seed: int,
    epoch: int,
    start: int = 0,
    rows: Rows = ONE_REPLICA,
    skip_bad: bool = False,
) -> tf.data.Dataset:
    """As `training_images`, from stored features: one epoch of images, each with all its captions.

    Args:
        paths: feature shards.
        images: images in a global batch.
        features_shape: [L, C].
        views: stored of each image; every epoch draws one of them.
        seed: of the run.
        epoch: counted from 0; another order in each.
        start: global batches to skip, those that were trained before an interruption.
        rows: this pipeline's share of each global batch.
        skip_bad: whether to go on without records that can't be read.

    Returns:
        A data set of `Batch`, each for one replica.
    """
    epoch_seed = _epoch_seed(seed, epoch)

    def decode(number: tf.Tensor, record: ParsedRecord) -> tf.Tensor:
        del number
        stored = decode_features(record.features, [views, *features_shape])
        return tf.gather(stored, _drawn_view(record.image_id, views, epoch_seed))

    return _whole_images(paths, decode, images, epoch_seed, start, rows, skip_bad)


def _whole_images(
    paths: Sequence[Path],
    decode: Callable[[tf.Tensor, ParsedRecord], tf.Tensor],
    images: int,
    epoch_seed: int,
    start: int,
    rows: Rows,
    skip_bad: bool,
    services: Sequence[str] = (),
) -> tf.data.Dataset:
    records = read_records(paths, epoch_seed, skip_bad).shuffle(SHUFFLED_IMAGES, seed=epoch_seed)

    def decode_row(number: tf.Tensor, record: ParsedRecord) -> Batch:
        return Batch(decode(number, record), record.tokens)

    def part(index: int, count: int) -> tf.data.Dataset:
        return _decoded(
            _whole_batches(records, images, start, rows, index, count),
            decode_row,
            _each(images, rows),
        )

    whole = _by_services(part, services, rows.count) if services else part(0, 1)
    return whole.prefetch(tf.data.AUTOTUNE)


def training_features(
    paths: Sequence[Path],
    *,
    captions: int,
    features_shape: Sequence[int],
    views: int = 1,
    max_length: int,
    seed: int,
    epoch: int,
    start: int = 0,
    rows: Rows = ONE_REPLICA,
    skip_bad: bool = False,
) -> tf.data.Dataset:
    """One epoch of stored features, a row a caption, captions of about the same length together.

    Args:
        paths: feature shards.
        captions: captions in a global batch, a multiple of the replicas.
        features_shape: [L, C].
        views: stored of each image; every epoch draws one of them for all captions of an image.
        max_length: most words of a caption.
        seed: of the run.
        epoch: counted from 0; another order in each.
        start: global batches to skip, those that were trained before an interruption.
        rows: this pipeline's share of each global batch.
        skip_bad: whether to go on without records that can't be read.

    Returns:
        A data set of `Batch` with N = 1, each for one replica.
    """
    epoch_seed = _epoch_seed(seed, epoch)

    def parse(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        record = parse_examples(serialized, max_length + 2)
        stored = decode_features(record.features, [views, *features_shape])
        return tf.gather(
            stored, _drawn_view(record.image_id, views, epoch_seed), batch_dims=1
        ), record.tokens

    def each_caption(features: tf.Tensor, tokens: tf.Tensor) -> tf.data.Dataset:
        real = tf.data.Dataset.from_tensor_slices(tokens[: tf.math.count_nonzero(tokens[:, 0])])
        # `repeat` hands the same buffer on: five captions in the shuffle hold their features once.
        return tf.data.Dataset.zip(tf.data.Dataset.from_tensors(features).repeat(), real)

    # Records are parsed many at a time: for one alone, starting the ops takes longer than they do.
    images = (
        read_records(paths, epoch_seed, skip_bad)
        .batch(PARSED_AT_ONCE)
        .map(parse, num_parallel_calls=tf.data.AUTOTUNE)
    )
    shuffled = images.unbatch().flat_map(each_caption).shuffle(SHUFFLED_CAPTIONS, seed=epoch_seed)
    batches = shuffled.group_by_window(
        lambda features, tokens: _bucket(tf.math.count_nonzero(tokens)),
        lambda bucket, captions_of_bucket: captions_of_bucket.batch(captions),
        window_size=captions,
    )

    mixed = batches.shuffle(SHUFFLED_BATCHES, seed=epoch_seed)
    filled = mixed.skip(start).map(
        lambda features, tokens: _filled(features, tokens, rows.replicas)
    )
    return filled.flat_map(lambda *batch: _share(batch, rows)).map(Batch).prefetch(tf.data.AUTOTUNE)


def _filled(features: tf.Tensor, tokens: tf.Tensor, replicas: int) -> tuple[tf.Tensor, tf.Tensor]:
    """[B, L, C] and [B, T], with rows of padding, so that the replicas' slices are of one size;
    they weigh nothing in the loss. Columns that are padding in every row go: tokens are [B, 1,
    T].
    """
    missing = -tf.shape(tokens)[0] % replicas
    longest = tf.reduce_max(tf.math.count_nonzero(tokens, axis=1))
    tokens = tf.pad(tokens[:, :longest], [[0, missing], [0, 0]])
    return tf.pad(features, [[0, missing], [0, 0], [0, 0]]), tokens[:, tf.newaxis]


def feature_steps(length_counts: Mapping[int, int], captions: int) -> int:
    """Global batches in an epoch of `training_features`: each bucket of lengths ends with one that
    is not full.

    Args:
        length_counts: tokens of a caption (special tokens included) to the number of such captions.
        captions: captions in a global batch.

    Returns:
        The number of batches.
    """
    buckets: dict[int, int] = {}
    for length, count in length_counts.items():
        bucket = _bucket(length)
        buckets[bucket] = buckets.get(bucket, 0) + count
    return sum(-(-count // captions) for count in buckets.values())


def _bucket(tokens: Number) -> Number:
    """Captions of so many tokens share batches with those of the same bucket; none is without start
    and end.
    """
    return (tokens - 1) // LENGTH_STEP


def evaluation_images(
    paths: Sequence[Path], *, images: int, image_size: int, rows: Rows = ONE_REPLICA
) -> tf.data.Dataset:
    """Every image of a split once, in the order of the shards.

    Args:
        paths: image shards.
        images: images in a global batch.
        image_size: pixels, height and width.
        rows: this pipeline's share of each global batch.

    Returns:
        A data set of `EvaluationBatch`, each for one replica.
    """

    def decode_row(number: tf.Tensor, record: ParsedRecord) -> EvaluationBatch:
        return EvaluationBatch(number, image.decode(record.image_bytes, image_size))

    share = _whole_batches(read_records(paths), images, 0, rows)
    return _decoded(share, decode_row, _each(images, rows)).prefetch(tf.data.AUTOTUNE)


def evaluation_features(
    paths: Sequence[Path], *, images: int, features_shape: Sequence[int], rows: Rows = ONE_REPLICA
) -> tf.data.Dataset:
    """As `evaluation_images`, from stored features.

    Args:
        paths: feature shards.
        images: images in a global batch.
        features_shape: [L, C].
        rows: this pipeline's share of each global batch.

    Returns:
        A data set of `EvaluationBatch`, each for one replica.
    """

    def decode_row(number: tf.Tensor, record: ParsedRecord) -> EvaluationBatch:
        return EvaluationBatch(number, decode_features(record.features, features_shape))

    share = _whole_batches(read_records(paths), images, 0, rows)
    return _decoded(share, decode_row, _each(images, rows)).prefetch(tf.data.AUTOTUNE)


def _epoch_seed(seed: int, epoch: int) -> int:
    # A large odd step keeps the epochs of one seed away from those of its neighbours.
    return (seed + 1_000_003 * (epoch + 1)) % 2**31


def _drawn_view(image_id: tf.Tensor, views: int, epoch_seed: int) -> tf.Tensor:
    """int64 [...]: by the image's name, since the draw must not hang on the order of the
    records.
    """
    return tf.strings.to_hash_bucket_fast(tf.strings.join([str(epoch_seed), image_id], " "), views)


def _whole_batches(
    records: tf.data.Dataset, images: int, start: int, rows: Rows, index: int = 0, count: int = 1
) -> tf.data.Dataset:
    """Numbered records in global batches of `images` rows, filled up for the replicas; this
    pipeline's share of each.

    Of the batches from `start` on, those at the places index, index + count, …

    Returns:
        A data set of (number int64 [B], serialised record string [B], real bool [B]).
    """
    filled_images = _each(images, rows) * rows.replicas

    def fill(number: tf.Tensor, record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        # Filled up with copies of its first row, marked as not real: one shape for every step and
        # every replica.
        missing = filled_images - tf.shape(number)[0]
        return (
            tf.concat([number, tf.repeat(number[:1], missing)], axis=0),
            tf.concat([record, tf.repeat(record[:1], missing)], axis=0),
            tf.range(filled_images) < filled_images - missing,
        )

    filled = records.enumerate().batch(images).skip(start).shard(count, index).map(fill)
    return filled.flat_map(lambda *batch: _share(batch, rows))


def _decoded(
    share: tf.data.Dataset,
    decode_row: Callable[[tf.Tensor, ParsedRecord], Batch | EvaluationBatch],
    rows: int,
) -> tf.data.Dataset:
    """What `_whole_batches` delivers, decoded: in batches of so many rows again.

    Records are parsed a batch at a time. Then a thread takes an image and not a batch. Behind it
    all rows of a batch are of one shape, so that several threads put it together: `padded_batch`,
    which needs no shapes, has one.
    """

    def parse(
        number: tf.Tensor, serialized: tf.Tensor, real: tf.Tensor
    ) -> tuple[tf.Tensor, ParsedRecord]:
        record = parse_examples(serialized)
        tokens = record.tokens * tf.cast(real, tf.int32)[:, tf.newaxis, tf.newaxis]
        return tf.where(real, number, -1), record._replace(tokens=tokens)

    parsed = share.map(parse, num_parallel_calls=tf.data.AUTOTUNE).unbatch()
    return parsed.map(decode_row, num_parallel_calls=tf.data.AUTOTUNE).batch(
        rows, num_parallel_calls=tf.data.AUTOTUNE
    )


def _by_services(
    part: Callable[[int, int], tf.data.Dataset], services: Sequence[str], elements_a_batch: int
) -> tf.data.Dataset:
    """Lets each service make its part, and puts the parts together in their order.

    One service of many workers would be simpler to start, but tf.data gives no order among its
    workers: no run could be resumed within an epoch, nor two runs be compared.
    """

    def checked(expected: tf.Tensor, element: tuple[tf.Tensor, Batch]) -> Batch:
        number, batch = element
        in_order = tf.raw_ops.Assert(condition=number == expected, data=[OUT_OF_ORDER])
        with tf.control_dependencies([in_order]):
            return Batch(*map(tf.identity, batch))

    made = []
    for index, service in enumerate(services):
        distribute = tf.data.experimental.service.distribute(
            tf.data.experimental.service.ShardingPolicy.OFF, service
        )
        made.append(
            part(index, len(services)).enumerate().apply(distribute).enumerate().map(checked)
        )
    turns = tf.data.Dataset.counter().map(
        lambda element: element // elements_a_batch % len(services)
    )
    return tf.data.Dataset.choose_from_datasets(made, turns)


def _each(images: int, rows: Rows) -> int:
    """Rows of a global batch that each replica gets."""
    return -(-images // rows.replicas)


def _share(batch: tuple[tf.Tensor, ...], rows: Rows) -> tf.data.Dataset:
    """Cuts one global batch, a multiple of the replicas, into the slices of this pipeline's
    replicas.
    """
    slices = tf.data.Dataset.range(rows.first, rows.first + rows.count)
    return slices.map(lambda replica: tuple(part[replica :: rows.replicas] for part in batch))
