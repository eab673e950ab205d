"""How captioning notebooks decode: `predict` once for the image and once more for each word. The
benchmark's foil.
"""

import io

import keras
import numpy as np
from PIL import Image

from imgcap.config import ModelConfig
from imgcap.data.vocabulary import START
from imgcap.model.encoder import Encoder


class NotebookCaptioner:
    """The merge model of the tutorials (Tanti et al. 2018): features and an LSTM over the words so
    far are added, and a softmax names the next word. The weights are random and no word ends a
    caption, so each takes as long.
    """

    def __init__(
        self, encoder: Encoder, config: ModelConfig, vocabulary_size: int, max_length: int
    ) -> None:
        """Builds the decoder.

        Args:
            encoder: pooled.
            config: sizes of the decoder.
            vocabulary_size: V.
            max_length: words of every caption.
        """
        pixels = keras.Input(encoder.network.input_shape[1:])
        grid = encoder.network(pixels)
        self._encoder = keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(grid))
        self._preprocess, self._size = encoder.preprocess, encoder.network.input_shape[1:3]
        features = keras.Input((encoder.features_shape[1],))
        tokens = keras.Input((max_length,))
        words = keras.layers.Embedding(vocabulary_size, config.embedding_dim, mask_zero=True)(
            tokens
        )
        past = keras.layers.LSTM(config.units)(words)
        merged = keras.layers.add(
            [keras.layers.Dense(config.units, activation="relu")(features), past]
        )
        self._decoder = keras.Model(
            [features, tokens], keras.layers.Dense(vocabulary_size, "softmax")(merged)
        )
        self._max_length = max_length

    def caption(self, image_bytes: bytes) -> list[int]:
        """Decodes one image greedily.

        Args:
            image_bytes: an encoded image file.

        Returns:
            The numbers of its words, the start token first.
        """
        picture = Image.open(io.BytesIO(image_bytes)).convert("RGB").resize(self._size[::-1])
        pixels = np.asarray(self._preprocess(np.array(picture, np.float32)[np.newaxis]))
        features = self._encoder.predict(pixels, verbose=0)
        tokens = [START]
        for _ in range(self._max_length):
            padded = keras.utils.pad_sequences([tokens], maxlen=self._max_length)
            probabilities = self._decoder.predict([features, padded], verbose=0)
            tokens.append(int(np.argmax(probabilities[0])))
        return tokens
