"""A SavedModel with a captioner's outputs but no captioner: a row's bytes decide its answer."""

import sys
from pathlib import Path
from typing import Any

import tensorflow as tf

from imgcap import signature
from serving.server.local_server import LocalServer, ServerOptions
from serving.server.models.model_list import one_model

BEAMS, WORDS = 3, 5
GRID = 4
"""Positions of the image on a side, of the toy with details."""


class ToyCaptioner(tf.Module):
    """Answers a row with `<word> image of <n> bytes`, or an error if it begins with "bad".

    Besides the signatures of the contract there is `raises`, which fails in the graph as a decoder
    without checks does, and `slow`, which takes long. `decode_details` says where each word looks,
    and is as sure of an image as the last two digits of its size say: 93 % at 4,193 bytes.
    """

    def __init__(self, word: str = "an") -> None:
        super().__init__()
        self.word = tf.Variable(word, trainable=False)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=signature.IMAGE_BYTES)])
    def decode(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._answer(image_bytes)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=signature.IMAGE_BYTES)])
    def raises(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        sizes = tf.map_fn(
            lambda row: tf.size(tf.io.decode_image(row)), image_bytes, fn_output_signature=tf.int32
        )
        return {signature.SCORE: tf.cast(sizes, tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=signature.IMAGE_BYTES)])
    def slow(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        spins = tf.while_loop(lambda i: i < 100_000, lambda i: (i + 1,), [tf.constant(0)])[0]
        outputs = self._answer(image_bytes)
        outputs[signature.SCORE] += 0.0 * tf.cast(spins, tf.float32)
        return outputs

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=signature.IMAGE_BYTES)])
    def decode_details(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = self._answer(image_bytes)
        percent = tf.cast(tf.strings.length(image_bytes) % 100, tf.float32)  # -> [B]
        lower = percent[:, None] - tf.range(BEAMS, dtype=tf.float32)  # -> [B, K]
        outputs[signature.CONFIDENCE] = tf.maximum(lower, 0.0) / 100.0
        # Word t looks at position 3 t, the later the harder.
        hardness = tf.range(1, WORDS + 1, dtype=tf.float32) / WORDS  # -> [T]
        even = (1.0 - hardness)[:, None] / GRID**2  # -> [T, 1]
        places = hardness[:, None] * tf.one_hot(3 * tf.range(WORDS), GRID**2)  # -> [T, L]
        rows = tf.shape(image_bytes)[0]
        outputs[signature.ATTENTION] = tf.tile((even + places)[None, None], [rows, BEAMS, 1, 1])
        return outputs

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=signature.QUERY)])
    def describe(self, query: tf.Tensor) -> dict[str, tf.Tensor]:
        card = tf.strings.join(['{"word": "', self.word, '"}'])
        return {signature.CARD: tf.fill(tf.shape(query), card)}

    def _answer(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        lengths = tf.strings.length(image_bytes)  # -> [B]
        bad = tf.strings.substr(image_bytes, 0, 3) == "bad"  # -> [B]
        caption = tf.strings.join(
            [self.word, " image of ", tf.strings.as_string(lengths), " bytes"]
        )
        caption = tf.where(bad, "", caption)
        score = -tf.cast(lengths, tf.float32) / 1000.0
        beams = tf.range(BEAMS, dtype=tf.float32)
        tokens = lengths[:, None, None] + tf.reshape(tf.range(BEAMS * WORDS), [BEAMS, WORDS])
        runners_up = caption[:, None] + tf.constant([["", " or so", " I think"]])
        return {
            signature.CAPTION: caption,
            signature.SCORE: score,
            signature.CAPTIONS: tf.where(bad[:, None], "", runners_up),
            signature.SCORES: score[:, None] - beams,
            signature.TOKENS: tokens,
            signature.TOKEN_LOG_PROBS: -0.1 * tf.cast(tf.ones_like(tokens), tf.float32),
            signature.ERROR: tf.where(bad, "not an image", ""),
        }


def write_toy_model(path: Path, word: str = "an", *, details: bool = False) -> Path:
    """Writes the toy into a version's folder.

    Args:
        path: the folder, such as `base/1`.
        word: the first word of its captions, to tell versions apart.
        details: whether it has `decode_details`, too.

    Returns:
        The path.
    """
    toy = ToyCaptioner(word)
    signatures = {
        signature.SERVING_DEFAULT: toy.decode,
        signature.DECODE: toy.decode,
        signature.DESCRIBE: toy.describe,
        "raises": toy.raises,
        "slow": toy.slow,
    }
    if details:
        signatures[signature.DECODE_DETAILS] = toy.decode_details
    tf.saved_model.save(toy, str(path), signatures=signatures)
    return path


def serve(base_path: Path, **options: Any) -> LocalServer:
    """Makes a server of one model; it takes the fields of `ServerOptions`."""
    return LocalServer(one_model(base_path), ServerOptions(**options))


if __name__ == "__main__":
    write_toy_model(Path(sys.argv[1], "1"))
