"""Image bytes → captions as one graph, with its tensors named as in `imgcap.signature`.

The graph that is exported, and that a command runs which captions without a server.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from imgcap import signature
from imgcap.config import DecodeConfig
from imgcap.data import image
from imgcap.model import search
from imgcap.model.captioner import Captioner
from imgcap.model.confidence import Confidence

Outputs = dict[str, tf.Tensor]
"""Tensors by their names in `imgcap.signature`."""


class EncodedRows(NamedTuple):
    """A batch of image files after decoding and encoding.

    Attributes:
        features: float32 [B, L, C], zeros in a row with an error.
        error: string [B], empty if there is none.
        missing: float32 [B], share of the image's rows, at its lower end, that the file lacks.
    """

    features: tf.Tensor
    error: tf.Tensor
    missing: tf.Tensor


class CaptionGraph:
    """A captioner from the bytes of image files to the outputs that are served.

    A row that is no image has an error, empty captions and zeros, and changes no other row.
    """

    def __init__(
        self,
        captioner: Captioner,
        image_size: int,
        max_pixels: int,
        confidence: Confidence | None,
        encode_images: Callable[[tf.Tensor], tf.Tensor] | None = None,
        max_missing: float = 0.0,
    ) -> None:
        """Joins the parts; nothing is traced yet.

        Args:
            captioner: trained.
            image_size: pixels, height and width the encoder sees.
            max_pixels: pictures that declare more are refused before they are decoded.
            confidence: fitted to the captioner; None gives no confidences.
            encode_images: images float32 [B, H, W, 3] in 0..255 → features float32 [B, L, C]; the
                captioner's own encoder if None.
            max_missing: share of a JPEG's rows that may be missing at its end, in [0, 1).
        """
        self._captioner, self._confidence = captioner, confidence
        self._encode_images = encode_images or captioner.encoder
        self._image_size, self._max_pixels = image_size, max_pixels
        self._max_missing = max_missing

    @property
    def features_shape(self) -> tuple[int, int]:
        """(L, C) of the features."""
        return self._captioner.encoder.features_shape

    @property
    def signatures(self) -> dict[str, signature.Signature]:
        """The contract of this captioner: which inputs and outputs each signature has."""
        return signature.make_signatures(
            attends=self._captioner.attends,
            confident=self._confidence is not None,
            in_part=self._max_missing > 0,
        )

    def encode(self, image_bytes: tf.Tensor) -> EncodedRows:
        """Decodes and encodes images.

        Args:
            image_bytes: encoded image files, string [B].

        Returns:
            The features, and what is wrong with a row or missing in it.
        """
        images, error, missing = image.decode_rows_in_part(
            image_bytes, self._image_size, self._max_pixels, self._max_missing
        )
        features = self._encode_images(images)
        features = tf.where((error == "")[:, tf.newaxis, tf.newaxis], features, 0.0)
        return EncodedRows(features, error, missing)

    def caption(
        self,
        features: tf.Tensor,
        error: tf.Tensor,
        options: DecodeConfig,
        seeds: tf.Tensor | None = None,
    ) -> Outputs:
        """Searches the captions of encoded images.

        Args:
            features: float32 [B, L, C].
            error: string [B], empty if the row is an image.
            options: the search.
            seeds: int32 [B], of the draws if the search samples; None takes the options' seed.

        Returns:
            The outputs of `decode_details` but for the attention, which `add_attention` adds.
        """
        captions = self._captioner.caption_features(features, options, seeds)
        good = error == ""  # -> [B]
        outputs = {**self._describe(captions, good), signature.ERROR: error}
        if self._confidence is not None:
            confidence = self._confidence(features, captions)
            outputs[signature.CONFIDENCE] = tf.where(good[:, tf.newaxis], confidence, 0.0)
        return outputs

    def add_attention(self, features: tf.Tensor, outputs: Outputs) -> Outputs:
        """Adds where the captioner looked for each word, if it attends.

        Args:
            features: float32 [B, L, C].
            outputs: what `caption` gave for these features.

        Returns:
            The outputs, with the attention.
        """
        if not self._captioner.attends:
            return outputs
        attention = self._captioner.attention_weights(features, outputs[signature.TOKENS])
        good = outputs[signature.ERROR] == ""  # -> [B]
        return {
            **outputs,
            signature.ATTENTION: tf.where(good[:, None, None, None], attention, 0.0),
        }

    def _describe(self, captions: search.Captions, good: tf.Tensor) -> Outputs:
        """The words and scores of captions; empty or zero in rows that are not good, bool [B]."""
        texts = tf.where(good[:, tf.newaxis], self._captioner.to_text(captions.tokens), "")
        scores = tf.where(good[:, tf.newaxis], captions.scores, 0.0)  # -> [B, K]
        log_probs = captions.token_log_probs
        return {
            signature.CAPTION: texts[:, 0],
            signature.SCORE: scores[:, 0],
            signature.CAPTIONS: texts,
            signature.SCORES: scores,
            signature.TOKENS: tf.where(good[:, None, None], captions.tokens, 0),
            signature.TOKEN_LOG_PROBS: tf.where(good[:, None, None], log_probs, 0.0),
        }
