"""What a row of a training batch is, and how it is made of a record."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from imgcap.data import image
from imgcap.data.records import ParsedRecord, decode_features, parse_examples


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
        return tf.gather(stored, draw_view(record.image_id, self.views, epoch_seed))


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
        drawn = draw_view(record.image_id, self.views, epoch_seed)
        return tf.gather(stored, drawn, batch_dims=1), record.tokens


def draw_view(image_id: tf.Tensor, views: int, epoch_seed: int) -> tf.Tensor:
    """Draws the number of a stored view of each image: int64 [...] in 0..views - 1.

    Drawn by the image's name, since the draw must not depend on the order of the records.
    """
    return tf.strings.to_hash_bucket_fast(tf.strings.join([str(epoch_seed), image_id], " "), views)
