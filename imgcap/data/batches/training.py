"""The input pipeline of one epoch of training."""

from collections.abc import Sequence

import tensorflow as tf

from imgcap.data.batches.batch import ONE_REPLICA, Position, Rows
from imgcap.data.batches.captions import batches_of_captions
from imgcap.data.batches.examples import DecodedImages, EncodedCaptions, EncodedImages
from imgcap.data.batches.images import batches_of_images
from imgcap.data.shards import read_records


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
        batches = batches_of_captions(records, examples, position, rows)
    else:
        batches = batches_of_images(records, examples, position, rows)
    return batches.prefetch(tf.data.AUTOTUNE)
