"""The captioner as a graph: image bytes in, captions out, with the whole search inside."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from export.cpu.optimize import FastEncoder
from imgcap import signature
from imgcap.config import DecodeConfig
from imgcap.data import image
from imgcap.model import search
from imgcap.model.captioner import Captioner
from imgcap.run.checkpoints import tf_variables

Outputs = dict[str, tf.Tensor]
"""Tensors by their names in `imgcap.signature`."""


class Assets(NamedTuple):
    """Files that a SavedModel carries in its folder `assets/`, under their own names.

    Attributes:
        vocabulary: one word a line.
        card: the model's card as JSON in one line, read when the model is loaded.
    """

    vocabulary: Path
    card: Path


class CaptionModule(tf.Module):
    """The signatures of a captioner with its variables and assets, and no Keras object: to load it,
    TensorFlow is enough.

    Encoder and search are functions of their own that the signatures call, so that a graph of
    thousands of operations is traced and written once and not for each signature.
    """

    def __init__(
        self,
        captioner: Captioner,
        encoder: FastEncoder,
        options: DecodeConfig,
        image_size: int,
        max_pixels: int,
        assets: Assets,
    ) -> None:
        """Makes the signatures; nothing is traced yet.

        Args:
            captioner: trained.
            encoder: takes the place of the captioner's own.
            options: the search that the signatures carry.
            image_size: pixels, height and width the encoder sees.
            max_pixels: pictures that declare more are refused before they are decoded.
            assets: copied into the model's folder.
        """
        super().__init__()
        # Its function alone: TensorFlow would follow the whole tuple and write the variables a
        # second time.
        self._captioner, self._encode_images = captioner, encoder.encode
        self._image_size, self._max_pixels = image_size, max_pixels
        self._contract = (
            signature.ATTENDING_SIGNATURES if captioner.attends else signature.SIGNATURES
        )
        layers = [*encoder.variables, *captioner.decoder.variables]
        self.weights = tf_variables(layers)
        self.vocabulary_file = tf.saved_model.Asset(str(assets.vocabulary))
        self.card_file = tf.saved_model.Asset(str(assets.card))
        self._card = _read_when_loaded(self.card_file)
        self._make_signatures(options)

    def _make_signatures(self, options: DecodeConfig) -> None:
        encode = tf.function(self._encode, autograph=False)
        widths = {"K": options.num_captions, "T": options.num_tokens}
        beam = self._make_search(options)
        self.decode = self._serve(signature.DECODE, lambda rows: beam(*encode(rows)), widths)
        self.decode_features = self._serve(
            signature.DECODE_FEATURES,
            lambda rows: beam(rows, tf.zeros_like(rows[:, 0, 0], tf.string)),
            widths,
        )
        first = self._make_search(dataclasses.replace(options, search="beam", beam_width=1))
        self.greedy = self._serve(
            signature.GREEDY, lambda rows: first(*encode(rows)), {**widths, "K": 1}
        )
        self.encode = self._serve(
            signature.ENCODE,
            lambda rows: dict(
                zip((signature.FEATURES, signature.ERROR), encode(rows), strict=True)
            ),
            {},
        )
        first_line = tf.constant(0, tf.int64)
        self.describe = self._serve(
            signature.DESCRIBE,
            lambda rows: {signature.CARD: tf.fill(tf.shape(rows), self._card.lookup(first_line))},
            {},
        )

    def signatures(self) -> dict[str, tf.types.experimental.GenericFunction]:
        """The functions that are served, by the names of their signatures."""
        functions = {
            name: getattr(self, name)
            for name in signature.SIGNATURES
            if name != signature.SERVING_DEFAULT
        }
        return {signature.SERVING_DEFAULT: self.decode, **functions}

    def _serve(
        self, name: str, answer: Callable[[tf.Tensor], Outputs], sizes: dict[str, int]
    ) -> tf.types.experimental.GenericFunction:
        """Makes a signature, with the input and the outputs that the contract gives it.

        Args:
            name: of the signature.
            answer: its input, of at least one row → its outputs, of as many rows.
            sizes: K and T, if the outputs have such axes.
        """
        given, returned = self._contract[name]
        positions, channels = self._captioner.encoder.features_shape
        sizes = {**sizes, "L": positions, "C": channels}

        def serve(rows: tf.Tensor) -> Outputs:
            count = tf.shape(rows)[0]
            # Fused operations fail on an empty batch: it becomes a blank row that is cut off again.
            blank = tf.zeros([tf.cast(count == 0, tf.int32), *rows.shape[1:]], rows.dtype)
            outputs = answer(tf.concat([rows, blank], axis=0))
            return {
                alias: tf.ensure_shape(outputs[alias][:count], _spec(alias, sizes).shape)
                for alias in returned
            }

        return tf.function(serve, input_signature=[_spec(given, sizes)], autograph=False)

    def _encode(self, image_bytes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Decodes and encodes images.

        Args:
            image_bytes: encoded image files, string [B].

        Returns:
            Features float32 [B, L, C], and errors, string [B], empty if there is none; the features
            of a row with an error are zeros.
        """
        images, error = image.decode_rows(image_bytes, self._image_size, self._max_pixels)
        features = self._encode_images(images)
        return tf.where((error == "")[:, tf.newaxis, tf.newaxis], features, 0.0), error

    def _make_search(self, options: DecodeConfig) -> tf.types.experimental.GenericFunction:
        """Makes a function of features float32 [B, L, C] and errors string [B] to the outputs of a
        search; a row with an error has empty captions and zeros, and changes no other row.
        """

        @tf.function(autograph=False)
        def find(features: tf.Tensor, error: tf.Tensor) -> Outputs:
            captions = self._captioner.caption_features(features, options)
            outputs = self._answer(captions, error)
            if self._captioner.attends:
                attention = self._captioner.attention_weights(features, captions.tokens)
                outputs[signature.ATTENTION] = tf.where(
                    (error == "")[:, None, None, None], attention, 0.0
                )
            return outputs

        return find

    def _answer(self, captions: search.Captions, error: tf.Tensor) -> Outputs:
        """The outputs of captions; those of a row with an error are empty or zero."""
        good = (error == "")[:, tf.newaxis]  # -> [B, 1]
        texts = tf.where(good, self._captioner.to_text(captions.tokens), "")  # -> [B, K]
        scores = tf.where(good, captions.scores, 0.0)
        return {
            signature.CAPTION: texts[:, 0],
            signature.SCORE: scores[:, 0],
            signature.CAPTIONS: texts,
            signature.SCORES: scores,
            signature.TOKENS: tf.where(good[..., tf.newaxis], captions.tokens, 0),
            signature.TOKEN_LOG_PROBS: tf.where(
                good[..., tf.newaxis], captions.token_log_probs, 0.0
            ),
            signature.ERROR: error,
        }


def _spec(alias: str, sizes: dict[str, int]) -> tf.TensorSpec:
    """The tensor of the contract, with the sizes of the axes that are known."""
    dtype, axes = signature.TENSORS[alias]
    return tf.TensorSpec([sizes.get(axis) for axis in axes.split()], tf.as_dtype(dtype), name=alias)


def _read_when_loaded(file: tf.saved_model.Asset) -> tf.lookup.StaticHashTable:
    """A table of the lines of an asset by their numbers.

    It is no constant, since the number of a version is known when it is published, long after its
    graph is written. And it is not `tf.io.read_file`, since a model server knows where the assets
    lie only while it initialises tables.
    """
    index = tf.lookup.TextFileIndex
    lines = tf.lookup.TextFileInitializer(
        file, tf.int64, index.LINE_NUMBER, tf.string, index.WHOLE_LINE
    )
    return tf.lookup.StaticHashTable(lines, default_value="{}")
