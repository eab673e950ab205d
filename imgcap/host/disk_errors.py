"""TensorFlow's errors about files, turned into the operating system's, which commands can tell."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf


@contextlib.contextmanager
def told_of(path: Path | str) -> Iterator[None]:
    """Turns an error of TensorFlow in the context into an OSError about a file.

    Args:
        path: what is written in the context.

    Raises:
        OSError: the disk is full or fails; names the file.
    """
    try:
        yield
    except tf.errors.OpError as error:
        full = isinstance(error, tf.errors.ResourceExhaustedError)
        number = errno.ENOSPC if full else errno.EIO
        raise OSError(number, os.strerror(number), os.fspath(path)) from None
