"""TensorFlow without its opening lines."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


def import_tensorflow(devices: bool = True) -> None:
    """Imports TensorFlow and swallows what its C++ side prints meanwhile; if the import fails, it
    is printed.

    Before its logger is initialised, TensorFlow writes notes about oneDNN and absent GPUs straight
    to file descriptor 2, whatever TF_CPP_MIN_LOG_LEVEL says. They would stand above every message
    of every command.

    Args:
        devices: whether to look for devices too, which also prints; not in a process that will
            fork.
    """
    with _swallowed():
        import tensorflow as tf

        if devices:
            tf.config.list_physical_devices()


def hear_onednn_note() -> None:
    """Has oneDNN say now, unheard, what it says once a process, of the first type that it can't
    compute in on this CPU.

    It is an error line, though nothing is wrong: stored features are float16, but nothing is
    computed in it. To be called when devices are set up, since a tensor settles them.
    """
    import tensorflow as tf

    with _swallowed():
        tf.zeros([1], tf.float16)


@contextlib.contextmanager
def _swallowed() -> Iterator[None]:
    """Nothing reaches file descriptor 2, unless what is done meanwhile fails."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as swallowed:
        os.dup2(swallowed.fileno(), 2)
        try:
            yield
        except BaseException:
            swallowed.seek(0)
            os.write(kept, swallowed.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
