"""Batches of images, each with all its captions, or with its number alone."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from imgcap.data.batches.batch import Batch, EvaluationBatch, Position, Rows, rows_each, share_rows
from imgcap.data.batches.examples import DecodedImages, EncodedImages
from imgcap.data.records import ParsedRecord, parse_examples

# Serialised images held for shuffling: 2,048 photos of 100 KB are 200 MB.
SHUFFLED_IMAGES = 2048

OUT_OF_ORDER = "a data service has more than one worker, so its batches come twice or in any order"


def batches_of_images(
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
        share = whole_batches(shuffled, images, position.start, rows, index, count)
        return decode_batches(share, decode_row, rows_each(images, rows))

    if isinstance(examples, DecodedImages) and examples.services:
        return _by_services(part, examples.services, rows.fed)
    return part(0, 1)


def whole_batches(
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
    filled_images = rows_each(images, rows) * rows.replicas

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
    return filled.flat_map(lambda *batch: share_rows(batch, rows))


def decode_batches(
    share: tf.data.Dataset,
    decode_row: Callable[[tf.Tensor, ParsedRecord], Batch | EvaluationBatch],
    rows: int,
) -> tf.data.Dataset:
    """Decodes what `whole_batches` delivers.

    Records are parsed a batch at a time, but decoded an image at a time, in parallel. Then all rows
    of a batch have one shape, so that several threads can put it together; `padded_batch`, which
    needs no shapes, uses one.

    Args:
        share: from `whole_batches`.
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
