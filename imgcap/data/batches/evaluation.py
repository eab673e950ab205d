"""The input pipelines of a split that is captioned: each image once, in the order of the shards."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from imgcap.data import image
from imgcap.data.batches.batch import ONE_REPLICA, EvaluationBatch, Rows, rows_each
from imgcap.data.batches.images import decode_batches, whole_batches
from imgcap.data.records import ParsedRecord, decode_features
from imgcap.data.shards import read_records


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

    share = whole_batches(read_records(paths), images, 0, rows)
    return decode_batches(share, decode_row, rows_each(images, rows)).prefetch(tf.data.AUTOTUNE)
