"""The decoders of one vector an image, by their names in the literature (Tanti, Gatt & Camilleri 2018, "Where to put
the image in an image caption generator")."""

import keras
import tensorflow as tf

from imgcap.config import ModelConfig
from imgcap.decoders.base import IMAGE, Decoder, Start


class PreInject(Decoder):
    """The image is the first "word": it sets the state that the start token then meets."""

    def __init__(self, config: ModelConfig, vocabulary_size: int, positions: int) -> None:
        super().__init__(config, vocabulary_size, positions)
        self.image = keras.layers.Dense(config.embedding_dim, name="image")

    def begin(self, features: tf.Tensor, seed: tf.Tensor | None = None) -> Start:
        word = self._dropout(self.image(features[:, 0]), seed, IMAGE)  # -> [B, D]
        return Start((), self.lstm.advance(self.lstm.project(word), self.lstm.zeros(tf.shape(word)[0])))


class ParInject(Decoder):
    """The image stands beside every word."""

    def __init__(self, config: ModelConfig, vocabulary_size: int, positions: int) -> None:
        super().__init__(config, vocabulary_size, positions)
        self.image = keras.layers.Dense(config.embedding_dim, name="image")

    def begin(self, features: tf.Tensor, seed: tf.Tensor | None = None) -> Start:
        beside = self._dropout(self.image(features[:, 0]), seed, IMAGE)  # -> [B, D]
        return Start((beside,), self.lstm.zeros(tf.shape(beside)[0]))

    def _project(self, words: tf.Tensor, memory: tuple[tf.Tensor, ...]) -> tf.Tensor:
        beside = tf.repeat(memory[0][:, tf.newaxis], tf.shape(words)[1], axis=1)
        return self.lstm.project(tf.concat([words, tf.cast(beside, words.dtype)], axis=-1))
