"""Run as a script in a process of its own, as a server is: times calls of a SavedModel that nobody
serves.

Arguments: the version's folder, intra-op threads (0 is the default) and an image file. Each line of
standard input is a number of calls; their seconds are the answer, in a line.
"""

import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf


def main(folder: str, intra_op: str, image: str) -> None:
    """Answers until its input ends."""
    tf.config.threading.set_intra_op_parallelism_threads(int(intra_op))
    model = tf.saved_model.load(folder)
    decode = model.signatures["decode"]
    with open(image, "rb") as file:
        image_bytes = tf.constant([file.read()])
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            started = time.perf_counter()
            _ = [output.numpy() for output in decode(image_bytes=image_bytes).values()]
            seconds.append(time.perf_counter() - started)
        print(*seconds, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
