"""Input pipelines for training and evaluation: shards to batches, by tf.data.

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

Everything random is a function of the seed, the epoch and the place in it, never of time or of a
thread's luck.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import tensorflow as tf

from imgcap.data import image
from imgcap.data.records import ParsedRecord, decode_features, parse_examples
from imgcap.data.shards import read_records

# Serialised images held for shuffling: 2,048 photos of 100 KB are 200 MB.
SHUFFLED_IMAGES = 2048
# Records parsed by one call if they are not in batches yet.
PARSED_AT_ONCE = 32
# Captions held for shuffling; those of one image share its features' memory.
SHUFFLED_CAPTIONS = 16384
# Captions of one batch differ by less than this many tokens: little padding, and still short and
# long ones together.
LENGTH_STEP = 4
# Batches held for shuffling. An epoch's part-filled batches come last and sorted by length; trained
# in that order, the longest captions came last of all, and the model forgot how to end a caption
# (dev CIDEr 11.7 instead of 18.9 after 2 epochs).
SHUFFLED_BATCHES = 32

OUT_OF_ORDER = "a data service has more than one worker, so its batches come twice or in any order"

Number = TypeVar("Number", int, tf.Tensor)


class Batch(NamedTuple):
    """One replica's rows of a global batch of training.

    Attributes:
        inputs: images float32 [B, H, W, 3] in 0..255, or stored features float16 [B, L, C].
        tokens: int32 [B, N, T], N captions an image, start token first, padded with 0; rows of
            nothing but padding stand for captions or images that are not there.
    """

    inputs: tf.Tensor
    tokens: tf.Tensor


class EvaluationBatch(NamedTuple):
    """One replica's rows of a global batch of evaluation.

    Attributes:
        number: int64 [B], place in the split; -1 in rows that only fill up the last batch.
        inputs: images float32 [B, H, W, 3] in 0..255, or stored features float16 [B, L, C].
    """

    number: tf.Tensor
    inputs: tf.Tensor


class Rows(NamedTuple):
    """The rows of each global batch that one input pipeline delivers.

    Of R replicas, replica r takes rows r, r + R, r + 2R, …

    Attributes:
        first: number of its first replica.
        fed: replicas that it feeds, one after the other.
        replicas: replicas in all.
    """

    first: int = 0
    fed: int = 1
    replicas: int = 1


ONE_REPLICA = Rows()


class Position(NamedTuple):
    """A place in a run, which alone decides what is read from there to the end of the epoch.

    Attributes:
        seed: of the run.
        epoch: counted from 0; each has an order of its own.
        start: global batches of the epoch to skip, those that were trained before an interruption.
    """

    seed: int = 0
    epoch: int = 0
    start: int = 0

    @property
    def epoch_seed(self) -> int:
        """The seed of all that is drawn in the epoch, in 0..2**31 - 1."""
        # A large odd step keeps the epochs of one seed away from those of its neighbours.
        return (self.seed + 1_000_003 * (self.epoch + 1)) % 2**31


class DecodedImages(NamedTuple):
    """Examples from image shards: a row is an image, decoded as it is read, with all its captions.

    Attributes:
        per_batch: images in a global batch.
        image_size: height and width, in pixels.
        augment: whether each image is mirrored half of the time.
        random_crop: share of each image's area that a random crop keeps at least; 1 crops nothing.
        services: addresses of tf.data services of one worker each, which decode in place of this
            process; number i of n makes the batches i, i + n, … The batches are the same.
    """

    per_batch: int
    image_size: int
    augment: bool
    random_crop: float = 1.0
    services: Sequence[str] = ()

    def decode(self, number: tf.Tensor, record: ParsedRecord, epoch_seed: int) -> tf.Tensor:
        """Decodes one image, mirrored and cropped by its place in the epoch.

        Args:
            number: int64 [], its place.
            record: of the image.
            epoch_seed: from `Position`.

        Returns:
            float32 [H, W, 3] in 0..255.
        """
        decoded = image.decode(record.image_bytes, self.image_size)
        draw = tf.stack([epoch_seed, tf.cast(number, tf.int32)])
        if self.random_crop < 1:
            decoded = image.random_crop(decoded, draw, self.random_crop)
        return image.random_flip(decoded, draw) if self.augment else decoded


class EncodedImages(NamedTuple):
    """Examples from feature shards: a row is an image's features with all its captions.

    Attributes:
        per_batch: images in a global batch.
        features_shape: L and C.
        views: stored of each image; each epoch draws one of them.
    """

    per_batch: int
    features_shape: Sequence[int]
    views: int = 1

    def decode(self, number: tf.Tensor, record: ParsedRecord, epoch_seed: int) -> tf.Tensor:
        """Reads the features of one image in the view that the epoch draws.

        Args:
            number: int64 [], its place in the epoch, on which nothing depends here.
            record: of the image.
            epoch_seed: from `Position`.

        Returns:
            float16 [L, C].
        """
        del number
        stored = decode_features(record.features, [self.views, *self.features_shape])
        return tf.gather(stored, _drawn_view(record.image_id, self.views, epoch_seed))


class EncodedCaptions(NamedTuple):
    """Examples from feature shards: a row is a caption with its image's features.

    Captions of about one length share a batch.

    Attributes:
        per_batch: captions in a global batch, a multiple of the replicas.
        features_shape: L and C.
        max_length: most words of a caption.
        views: stored of each image; each epoch draws one of them for all captions of the image.
    """

    per_batch: int
    features_shape: Sequence[int]
    max_length: int
    views: int = 1

    def decode(self, serialized: tf.Tensor, epoch_seed: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Reads features and captions of several images, in the views that the epoch draws.

        Args:
            serialized: string [B].
            epoch_seed: from `Position`.

        Returns:
            Features float16 [B, L, C] and tokens int32 [B, N, T].
        """
        record = parse_examples(serialized, self.max_length + 2)
        stored = decode_features(record.features, [self.views, *self.features_shape])
        drawn = _drawn_view(record.image_id, self.views, epoch_seed)
        return tf.gather(stored, drawn, batch_dims=1), record.tokens


@tf.autograph.experimental.do_not_convert
def training_batches(
    paths: Sequence[str],
    examples: DecodedImages | EncodedImages | EncodedCaptions,
    position: Position,
    rows: Rows = ONE_REPLICA,
    skip_bad: bool = False,
) -> tf.data.Dataset:
    """Builds the input pipeline of the rest of one epoch of training.

    Args:
        paths: image or feature shards, as `examples` needs them.
        examples: what a row is and how it is made.
        position: where the pipeline begins.
        rows: its share of each global batch.
        skip_bad: whether to go on without records that cannot be read.

    Returns:
        A data set of `Batch`, each for one replica.
    """
    records = read_records(paths, position.epoch_seed, skip_bad)
    if isinstance(examples, EncodedCaptions):
        batches = _batches_of_captions(records, examples, position, rows)
    else:
        batches = _batches_of_images(records, examples, position, rows)
    return batches.prefetch(tf.data.AUTOTUNE)


def _batches_of_images(
    records: tf.data.Dataset,
    examples: DecodedImages | EncodedImages,
    position: Position,
    rows: Rows,
) -> tf.data.Dataset:
    """Batches of images, each with all its captions, in shuffled order."""
    shuffled = records.shuffle(SHUFFLED_IMAGES, seed=position.epoch_seed)
    images = examples.per_batch

    def decode_row(number: tf.Tensor, record: ParsedRecord) -> Batch:
        return Batch(examples.decode(number, record, position.epoch_seed), record.tokens)

    def part(index: int, count: int) -> tf.data.Dataset:
        share = _whole_batches(shuffled, images, position.start, rows, index, count)
        return _decoded(share, decode_row, _each(images, rows))

    if isinstance(examples, DecodedImages) and examples.services:
        return _by_services(part, examples.services, rows.fed)
    return part(0, 1)


def _batches_of_captions(
    records: tf.data.Dataset, examples: EncodedCaptions, position: Position, rows: Rows
) -> tf.data.Dataset:
    """Batches of captions of about one length, in shuffled order."""
    captions, epoch_seed = examples.per_batch, position.epoch_seed

    def each_caption(features: tf.Tensor, tokens: tf.Tensor) -> tf.data.Dataset:
        real = tf.data.Dataset.from_tensor_slices(tokens[: tf.math.count_nonzero(tokens[:, 0])])
        # `repeat` hands the same buffer on: five captions in the shuffle hold their features once.
        return tf.data.Dataset.zip(tf.data.Dataset.from_tensors(features).repeat(), real)

    # Records are parsed many at a time: for one alone, starting the ops takes longer than they do.
    images = records.batch(PARSED_AT_ONCE).map(
        lambda serialized: examples.decode(serialized, epoch_seed),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    shuffled = images.unbatch().flat_map(each_caption).shuffle(SHUFFLED_CAPTIONS, seed=epoch_seed)
    batches = shuffled.group_by_window(
        lambda features, tokens: _bucket(tf.math.count_nonzero(tokens)),
        lambda bucket, captions_of_bucket: captions_of_bucket.batch(captions),
        window_size=captions,
    )
    mixed = batches.shuffle(SHUFFLED_BATCHES, seed=epoch_seed)
    filled = mixed.skip(position.start).map(
        lambda features, tokens: _filled(features, tokens, rows.replicas)
    )
    return filled.flat_map(lambda *batch: _share(batch, rows)).map(Batch)


def _filled(features: tf.Tensor, tokens: tf.Tensor, replicas: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Adds rows of padding until the replicas can share a batch evenly.

    Padding weighs nothing in the loss. Columns that are padding in every row are cut off.

    Args:
        features: float16 [B, L, C].
        tokens: int32 [B, T].
        replicas: that share the batch.

    Returns:
        The features, and the tokens as int32 [B, 1, T].
    """
    missing = -tf.shape(tokens)[0] % replicas
    longest = tf.reduce_max(tf.math.count_nonzero(tokens, axis=1))
    tokens = tf.pad(tokens[:, :longest], [[0, missing], [0, 0]])
    return tf.pad(features, [[0, missing], [0, 0], [0, 0]]), tokens[:, tf.newaxis]


def feature_steps(length_counts: Mapping[int, int], captions: int) -> int:
    """Counts the global batches in an epoch of `EncodedCaptions`.

    The captions of each bucket of lengths end with a batch that is not full.

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
    """The number of the bucket for captions of so many tokens, start and end included."""
    return (tokens - 1) // LENGTH_STEP


def evaluation_images(
    paths: Sequence[str], *, images: int, image_size: int, rows: Rows = ONE_REPLICA
) -> tf.data.Dataset:
    """Builds the input pipeline that decodes each image of a split once, in the shards' order.

    Args:
        paths: image shards.
        images: images in a global batch.
        image_size: height and width, in pixels.
        rows: this pipeline's share of each global batch.

    Returns:
        A data set of `EvaluationBatch`, each for one replica.
    """

    def decode(record: ParsedRecord) -> tf.Tensor:
        return image.decode(record.image_bytes, image_size)

    return _evaluation_batches(paths, decode, images, rows)


def evaluation_features(
    paths: Sequence[str], *, images: int, features_shape: Sequence[int], rows: Rows = ONE_REPLICA
) -> tf.data.Dataset:
    """Builds the input pipeline that reads the stored features of each image of a split once.

    Args:
        paths: feature shards.
        images: images in a global batch.
        features_shape: L and C.
        rows: this pipeline's share of each global batch.

    Returns:
        A data set of `EvaluationBatch`, each for one replica, in the order of the shards.
    """

    def decode(record: ParsedRecord) -> tf.Tensor:
        return decode_features(record.features, features_shape)

    return _evaluation_batches(paths, decode, images, rows)


@tf.autograph.experimental.do_not_convert
def _evaluation_batches(
    paths: Sequence[str],
    decode: Callable[[ParsedRecord], tf.Tensor],
    images: int,
    rows: Rows,
) -> tf.data.Dataset:
    def decode_row(number: tf.Tensor, record: ParsedRecord) -> EvaluationBatch:
        return EvaluationBatch(number, decode(record))

    share = _whole_batches(read_records(paths), images, 0, rows)
    return _decoded(share, decode_row, _each(images, rows)).prefetch(tf.data.AUTOTUNE)


def _drawn_view(image_id: tf.Tensor, views: int, epoch_seed: int) -> tf.Tensor:
    """Draws the number of a stored view of each image: int64 [...] in 0..views - 1.

    Drawn by the image's name, since the draw must not depend on the order of the records.
    """
    return tf.strings.to_hash_bucket_fast(tf.strings.join([str(epoch_seed), image_id], " "), views)


def _whole_batches(
    records: tf.data.Dataset, images: int, start: int, rows: Rows, index: int = 0, count: int = 1
) -> tf.data.Dataset:
    """Numbers the records, puts them into global batches and takes this pipeline's rows of each.

    Args:
        records: serialised, string [].
        images: records in a global batch; each is filled up for the replicas.
        start: global batches to skip.
        rows: this pipeline's share of each global batch.
        index: of the batches from `start` on, those at the places index, index + count, … are
            taken.
        count: see `index`.

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
    """Decodes what `_whole_batches` delivers.

    Records are parsed a batch at a time, but decoded an image at a time, in parallel. Then all rows
    of a batch have one shape, so that several threads can put it together; `padded_batch`, which
    needs no shapes, uses one.

    Args:
        share: from `_whole_batches`.
        decode_row: makes the batch's row from the number and the record of an image.
        rows: rows of a batch.

    Returns:
        A data set of batches of what `decode_row` returns.
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
    workers: no run could be resumed within an epoch, nor could two runs be compared.

    Args:
        part: builds the part of number `index` of `count`.
        services: addresses.
        elements_a_batch: elements that each global batch is cut into, all made by one service.

    Returns:
        A data set of `Batch`.
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
    """Cuts a global batch, a multiple of the replicas, into slices for this pipeline's replicas."""
    slices = tf.data.Dataset.range(rows.first, rows.first + rows.fed)
    return slices.map(lambda replica: tuple(part[replica :: rows.replicas] for part in batch))
