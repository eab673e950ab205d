"""How captioning notebooks train and decode: the slow way that both benchmarks compare with."""

import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import keras
import numpy as np
from PIL import Image

from imgcap.data.text.vocabulary import START
from imgcap.model.encoder import Encoder

NotebookBatch = tuple[tuple[np.ndarray, np.ndarray], np.ndarray]


class Caption(NamedTuple):
    """One caption with the features of its image.

    Attributes:
        features: float [C].
        tokens: words by number, start and end token included.
    """

    features: np.ndarray
    tokens: list[int]


class NotebookDecoder:
    """The image as first "word" before the LSTM, a softmax on its last output alone: one forward
    pass a word.
    """

    def __init__(self, channels: int, units: int, vocabulary_size: int, longest: int) -> None:
        """Builds and compiles the model, with random weights.

        Args:
            channels: C.
            units: of all layers.
            vocabulary_size: V.
            longest: words that a row is padded to, in front.
        """
        features, words = keras.Input((channels,)), keras.Input((longest,))
        picture = keras.layers.Reshape((1, units))(
            keras.layers.Dense(units, activation="relu")(features)
        )
        embedded = keras.layers.Embedding(vocabulary_size, units)(words)
        hidden = keras.layers.LSTM(units)(keras.layers.concatenate([picture, embedded], axis=1))
        probabilities = keras.layers.Dense(vocabulary_size, activation="softmax")(
            keras.layers.Dropout(0.5)(hidden)
        )
        self._model = keras.Model([features, words], probabilities)
        self._model.compile("adam", "categorical_crossentropy")
        self._vocabulary_size, self._longest = vocabulary_size, longest

    def fit(self, captions: Sequence[Caption], captions_a_batch: int) -> None:
        """Trains one epoch by Keras' `fit` on a Python generator.

        Args:
            captions: the epoch.
            captions_a_batch: whose rows make a batch.
        """
        steps = -(-len(captions) // captions_a_batch)
        self._model.fit(
            self.batches(captions, captions_a_batch),
            steps_per_epoch=steps,
            shuffle=False,
            verbose=0,
        )

    def batches(
        self, captions: Sequence[Caption], captions_a_batch: int
    ) -> Iterator[NotebookBatch]:
        """Unrolls captions into a row a word.

        Args:
            captions: the epoch.
            captions_a_batch: whose rows make a batch.

        Yields:
            ((features float [rows, C], the words so far int32 [rows, longest]), the next word,
            one-hot, [rows, V]).
        """
        for start in range(0, len(captions), captions_a_batch):
            features, read, targets = [], [], []
            for caption in captions[start : start + captions_a_batch]:
                for place in range(1, len(caption.tokens)):
                    features.append(caption.features)
                    read.append(self._pad(caption.tokens[:place])[0])
                    next_word = caption.tokens[place : place + 1]
                    targets.append(keras.utils.to_categorical(next_word, self._vocabulary_size)[0])
            yield (np.array(features, np.float32), np.array(read)), np.array(targets)

    def decode(self, features: np.ndarray, words: int) -> list[int]:
        """Takes the most probable next word, again and again; no word ends the caption.

        Args:
            features: float [1, C].
            words: of the caption.

        Returns:
            The numbers of its words, the start token first.
        """
        tokens = [START]
        for _ in range(words):
            probabilities = self._model.predict([features, self._pad(tokens)], verbose=0)
            tokens.append(int(np.argmax(probabilities[0])))
        return tokens

    def _pad(self, tokens: list[int]) -> np.ndarray:
        """int32 [1, longest]."""
        return keras.utils.pad_sequences([tokens], self._longest)


class NotebookCaptioner:
    """Image files to captions: `predict` once for the image and once more for each word."""

    def __init__(self, encoder: Encoder, units: int, vocabulary_size: int, words: int) -> None:
        """Builds the decoder.

        Args:
            encoder: images to features, which are pooled.
            units: of the decoder's layers.
            vocabulary_size: V.
            words: of every caption.
        """
        pixels = keras.Input(encoder.network.input_shape[1:])
        grid = encoder.network(pixels)
        self._encoder = keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(grid))
        self._preprocess, self._size = encoder.preprocess, encoder.network.input_shape[1:3]
        self._decoder = NotebookDecoder(encoder.features_shape[1], units, vocabulary_size, words)
        self._words = words

    def caption(self, image_bytes: bytes) -> list[int]:
        """Captions one image.

        Args:
            image_bytes: an encoded image file.

        Returns:
            The numbers of its words, the start token first.
        """
        picture = Image.open(io.BytesIO(image_bytes)).convert("RGB").resize(self._size[::-1])
        pixels = np.asarray(self._preprocess(np.array(picture, np.float32)[np.newaxis]))
        return self._decoder.decode(self._encoder.predict(pixels, verbose=0), self._words)
