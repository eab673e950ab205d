"""What preparing can't do without: each image file read and decoded once. Runs in a worker
process.
"""

from collections.abc import Sequence


def decode_files(paths: Sequence[str]) -> int:
    """Reads and decodes image files.

    Args:
        paths: of the files.

    Returns:
        How many pixels they have.
    """
    # It is imported already in the process this one was forked from, which keeps it to one thread.
    import tensorflow as tf

    pixels = 0
    for path in paths:
        with open(path, "rb") as file:
            pixels += (
                tf.size(
                    tf.io.decode_jpeg(file.read(), channels=3, dct_method="INTEGER_ACCURATE")
                ).numpy()
                // 3
            )
    return int(pixels)
