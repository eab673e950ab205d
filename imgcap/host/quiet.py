"""TensorFlow without the lines it prints when it starts."""

import contextlib
import functools
import gc
import os
import sys
import tempfile
from collections.abc import Iterator


def import_tensorflow(devices: bool = True) -> None:
    """Imports TensorFlow and hides what its C++ side prints meanwhile, unless the import fails.

    Before its logger is initialised, TensorFlow writes notes about oneDNN and absent GPUs straight
    to file descriptor 2, whatever TF_CPP_MIN_LOG_LEVEL says. They would stand above every message
    of every command.

    The garbage collector pauses meanwhile and leaves alone what was made: a million objects that
    stay, and looking through them again and again was a third of the import's time.

    Args:
        devices: whether to look for devices too, which also prints; must be False in a process that
            will fork.
    """
    first = "tensorflow" not in sys.modules
    with _swallowed(), _uncollected() if first else contextlib.nullcontext():
        import tensorflow as tf

        if devices:
            tf.config.list_physical_devices()


def hide_onednn_note() -> None:
    """Hides the line that oneDNN prints once a process, about a type it cannot compute in.

    It looks like an error, though nothing is wrong: stored features are float16, but nothing is
    computed in it. The line is provoked here and hidden. Must be called after devices are set up:
    the first tensor fixes them.
    """
    import tensorflow as tf

    with _swallowed():
        tf.zeros([1], tf.float16)


@functools.cache
def hide_session_notes(intra_op_threads: int, inter_op_threads: int) -> None:
    """Hides what TensorFlow logs when a process makes its first session and loads a model into it.

    The lines look like faults: a pass of MLIR that is not enabled, and the advice to load models in
    another way. The first is provoked here and hidden; the second is no longer said afterwards.

    Args:
        intra_op_threads: threads inside one operation; the first session decides it for all.
        inter_op_threads: operations that run at once.
    """
    import tensorflow as tf

    options = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=intra_op_threads,
        inter_op_parallelism_threads=inter_op_threads,
    )
    tf.get_logger().setLevel("ERROR")
    graph = tf.Graph()
    with _swallowed(), graph.as_default(), tf.compat.v1.Session(config=options) as session:
        session.run(tf.constant(0))


@contextlib.contextmanager
def _swallowed() -> Iterator[None]:
    """Keeps all output from file descriptor 2 while the context lasts; an error prints it."""
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


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Keeps the garbage collector from what is made while the context lasts, then and later."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if collects:
            gc.enable()
