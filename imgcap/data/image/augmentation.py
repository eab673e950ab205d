"""Random changes of training images, each a function of a seed."""

import tensorflow as tf

# Folded into the seed of a crop.
CROP = 1


def random_flip(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Mirrors left and right with probability 1/2; the same seed always decides the same.

    Args:
        image: [H, W, 3], any dtype.
        seed: int32 [2].

    Returns:
        [H, W, 3].
    """
    return tf.image.stateless_random_flip_left_right(image, seed)


def random_crop(image: tf.Tensor, seed: tf.Tensor, least: float) -> tf.Tensor:
    """Cuts a random part out and scales it to the size of the whole (Szegedy et al. 2015).

    As in section 6 of the paper, but with a larger least share of the area.

    Args:
        image: float32 [H, W, 3], its size known.
        seed: int32 [2].
        least: least share of the area that is kept, in (0, 1]; width / height of the part is 3/4 to
            4/3.

    Returns:
        float32 [H, W, 3].
    """
    # A stream of its own: drawn from the numbers that decide a mirror image, tall crops would be
    # the mirrored ones.
    seed = tf.random.experimental.stateless_fold_in(seed, CROP)
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.shape(image),
        tf.zeros([1, 0, 4]),
        seed,
        area_range=(least, 1.0),
        aspect_ratio_range=(3 / 4, 4 / 3),
        use_image_if_no_bounding_boxes=True,
    )
    return tf.ensure_shape(
        tf.image.resize(tf.slice(image, begin, extent), image.shape[:2]), image.shape
    )
