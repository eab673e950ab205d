"""The images of prepared data, from their TFRecord shards."""

from collections.abc import Iterator

import tensorflow as tf

from imgcap.data.shards import damage_refused, read_records


def read_shard(location: str) -> Iterator[tuple[str, bytes]]:
    """Yields name and encoded file of each image of a shard, in its order.

    Raises:
        DataError: the shard is damaged.
    """
    with damage_refused([location]):
        for record in read_records([location]).as_numpy_iterator():
            fields = tf.train.Example.FromString(record).features.feature
            name = fields["image_id"].bytes_list.value[0].decode("utf-8", "replace")
            yield name, fields["image_bytes"].bytes_list.value[0]
