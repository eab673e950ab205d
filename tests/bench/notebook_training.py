"""How captioning notebooks train: each caption unrolled into a row a word. The foil of training on
stored features.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import keras
import numpy as np

NotebookBatch = tuple[tuple[np.ndarray, np.ndarray], np.ndarray]


class Caption(NamedTuple):
    """One caption with the features of its image.

    Attributes:
        features: float [C].
        tokens: words by number, start and end token included.
    """

    features: np.ndarray
    tokens: list[int]


class NotebookTraining:
    """The image as first "word" before the LSTM, a softmax on its last output alone: one forward
    pass a word.
    """

    def __init__(self, channels: int, units: int, vocabulary_size: int, longest: int) -> None:
        """Builds and compiles the model.

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
        read = keras.layers.LSTM(units)(keras.layers.concatenate([picture, embedded], axis=1))
        chances = keras.layers.Dense(vocabulary_size, activation="softmax")(
            keras.layers.Dropout(0.5)(read)
        )
        self._model = keras.Model([features, words], chances)
        self._model.compile("adam", "categorical_crossentropy")
        self._vocabulary_size, self._longest = vocabulary_size, longest

    def fit(self, captions: Sequence[Caption], captions_a_batch: int) -> None:
        """One epoch of Keras' `fit` on a Python generator.

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
        """The rows of some captions at a time.

        Yields:
            ((features float [rows, C], the words so far int32 [rows, longest]), the next word,
            one-hot, [rows, V]).
        """
        for start in range(0, len(captions), captions_a_batch):
            features, read, targets = [], [], []
            for caption in captions[start : start + captions_a_batch]:
                for place in range(1, len(caption.tokens)):
                    features.append(caption.features)
                    read.append(
                        keras.utils.pad_sequences([caption.tokens[:place]], self._longest)[0]
                    )
                    targets.append(
                        keras.utils.to_categorical([caption.tokens[place]], self._vocabulary_size)[
                            0
                        ]
                    )
            yield (np.array(features, np.float32), np.array(read)), np.array(targets)
