"""A small model for questions to a server: signatures of every shape and type it has to carry.

    python -m tests.serving.server.contract.parcel_model DIR

writes DIR/1 and DIR/2, which `tensorflow_model_server --model_name=parcel --model_base_path=DIR`
serves as well (both versions, if a models.config says so).
"""

import sys
from pathlib import Path

import tensorflow as tf

NAME = "parcel"
VERSIONS = (1, 2)

KINDS = {
    "flag": tf.bool,
    "byte": tf.uint8,
    "small": tf.int8,
    "short": tf.int16,
    "port": tf.uint16,
    "index": tf.uint32,
    "hash": tf.uint64,
    "half": tf.float16,
    "brain": tf.bfloat16,
    "wide": tf.float64,
    "wave": tf.complex64,
}
"""The inputs of `kinds`, which gives them back as they came."""


def vector(dtype: tf.DType, name: str) -> tf.TensorSpec:
    return tf.TensorSpec([None], dtype, name)


class Parcel(tf.Module):
    """Weighs byte strings, and has a signature for each other kind of input."""

    def __init__(self, version: int) -> None:
        super().__init__()
        self.version = tf.constant(float(version))

    @tf.function(input_signature=[vector(tf.string, "parcel")])
    def weigh(self, parcel):
        size = tf.strings.length(parcel)
        return {
            "label": tf.strings.join(["weighs ", tf.strings.as_string(size)]),
            "size": size,
            "tail_bytes": tf.strings.substr(parcel, -tf.minimum(size, 2), tf.minimum(size, 2)),
            "pair": tf.stack([tf.cast(size, tf.float32), tf.fill(tf.shape(size), self.version)], 1),
        }

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, "x")])
    def halve(self, x):
        return {"half": x / 2}

    @tf.function(input_signature=[vector(tf.float32, "weight"), vector(tf.int64, "count")])
    def blend(self, weight, count):
        return {
            "product": weight * tf.cast(count, tf.float32),
            "ratio": weight / tf.cast(count, tf.float32),
        }

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, "x")])
    def single(self, x):
        return {"y": x - 1}

    @tf.function(input_signature=[{name: vector(dtype, name) for name, dtype in KINDS.items()}])
    def kinds(self, values):
        return {name: tf.identity(value) for name, value in values.items()}

    @tf.function(input_signature=[vector(tf.float32, "inputs")])
    def rate(self, inputs):
        return {"outputs": 3 * inputs}

    @tf.function(input_signature=[vector(tf.string, "inputs")])
    def sort(self, inputs):
        n = self._read(inputs)
        heavy = tf.stack([n, 1 - n], 1)
        classes = tf.broadcast_to(tf.constant(["heavy", "light"]), tf.shape(heavy))
        return {"classes": classes, "scores": heavy}

    @tf.function(input_signature=[vector(tf.string, "inputs")])
    def price(self, inputs):
        return {"outputs": 10 * self._read(inputs)}

    def _read(self, examples):
        return tf.io.parse_example(examples, {"n": tf.io.FixedLenFeature([], tf.float32)})["n"]


def write_parcel_model(folder: Path) -> Path:
    """Writes both versions.

    Args:
        folder: the folder that gets a subfolder for each version.

    Returns:
        The folder.
    """
    for version in VERSIONS:
        model = Parcel(version)
        functions = {
            name: getattr(model, name)
            for name in ("halve", "blend", "single", "kinds", "rate", "sort", "price")
        }
        signatures = {"serving_default": model.weigh, **functions}
        tf.saved_model.save(model, str(folder / str(version)), signatures=signatures)
    return folder


if __name__ == "__main__":
    write_parcel_model(Path(sys.argv[1]))
