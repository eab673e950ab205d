"""The decoders that take one vector an image, by their names in the literature.

The names are those of Tanti, Gatt & Camilleri 2018, "Where to put the image in an image caption
generator".
"""

import keras
import tensorflow as tf

from imgcap.config import ModelConfig
from imgcap.model.decoders.base import IMAGE, Decoder, Start, Step, concat_image
from imgcap.model.decoders.loop import Constants, Multiply, State, Tensors


class PreInject(Decoder):
    """Pre-inject: the image is read as the first "word", before the start token."""

    def __init__(self, config: ModelConfig, vocabulary_size: int, positions: int) -> None:
        super().__init__(config, vocabulary_size, positions)
        self.image = keras.layers.Dense(config.embedding_dim, name="image")

    def begin(self, features: tf.Tensor, seed: tf.Tensor | None = None) -> Start:
        word = self._dropout(self.image(features[:, 0]), seed, IMAGE)  # -> [B, D]
        state = self.lstm.zeros(tf.shape(word)[0])
        multiply = self._constants(()).multiply
        return Start((), self.lstm.advance(self.lstm.project(word), state, multiply))


class ParInject(Decoder):
    """Par-inject: the LSTM reads the image together with every word."""

    def __init__(self, config: ModelConfig, vocabulary_size: int, positions: int) -> None:
        super().__init__(config, vocabulary_size, positions)
        self.image = keras.layers.Dense(config.embedding_dim, name="image")

    def begin(self, features: tf.Tensor, seed: tf.Tensor | None = None) -> Start:
        image = self._dropout(self.image(features[:, 0]), seed, IMAGE)  # -> [B, D]
        return Start((image,), self.lstm.zeros(tf.shape(image)[0]))

    def _project(self, words: tf.Tensor, memory: tuple[tf.Tensor, ...]) -> tf.Tensor:
        return self.lstm.project(concat_image(words, memory[0]))


class InjectAndMerge(Decoder):
    """Init-inject, par-inject and merge at once.

    The image sets the initial state, is read together with every word, and is added to the LSTM's
    output before the logits. Dropout acts on the features themselves, once for all three.
    """

    def __init__(self, config: ModelConfig, vocabulary_size: int, positions: int) -> None:
        super().__init__(config, vocabulary_size, positions)
        self.image = keras.layers.Dense(config.embedding_dim, name="image")
        self.initial_state = keras.layers.Dense(
            2 * config.units, activation="tanh", name="initial_state"
        )
        self.image_to_output = keras.layers.Dense(
            config.units, use_bias=False, name="image_to_output"
        )

    def begin(self, features: tf.Tensor, seed: tf.Tensor | None = None) -> Start:
        features = self._dropout(features[:, 0], seed, IMAGE)
        state = tf.cast(self.initial_state(features), tf.float32)
        image = self.image(features)  # -> [B, D]
        return Start(
            (image, tf.cast(self.image_to_output(image), tf.float32)),
            tuple(tf.split(state, 2, axis=-1)),
        )

    def _project(self, words: tf.Tensor, memory: tuple[tf.Tensor, ...]) -> tf.Tensor:
        return self.lstm.project(concat_image(words, memory[0]))

    def _constants(self, memory: tuple[tf.Tensor, ...]) -> Constants:
        return super()._constants(memory)._replace(tensors={"image": memory[1]})

    def _advance(
        self,
        projected: tf.Tensor,
        state: State,
        mask: tf.Tensor | None,
        multiply: Multiply,
        tensors: Tensors,
    ) -> Step:
        step = super()._advance(projected, state, mask, multiply, tensors)
        return step._replace(output=step.output + tensors["image"])
