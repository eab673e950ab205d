"""The work that preparing cannot do without: each image file read and decoded once.

It runs in worker processes and imports nothing that they would have to wait for.
"""

from collections.abc import Sequence


def decode_files(paths: Sequence[str]) -> int:
    """Reads and decodes image files.

    Args:
        paths: of the files.

    Returns:
        Pixels that they have together.
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
