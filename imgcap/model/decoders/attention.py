"""The decoders that look at the encoder's grid anew for every word."""

import keras
import tensorflow as tf

from imgcap.config import ModelConfig
from imgcap.model.decoders.base import IMAGE, Decoder, Start, Step, beside
from imgcap.model.decoders.lstm import State


class AdditiveScore(keras.layers.Layer):
    """How well keys answer a query: w · tanh(key + U query) (Bahdanau et al. 2015)."""

    def __init__(self, units: int) -> None:
        """Makes the layers.

        Args:
            units: width of keys and queries.
        """
        super().__init__(name="score")
        self.query = keras.layers.Dense(units, use_bias=False, name="query")
        self.weigh = keras.layers.Dense(1, use_bias=False, name="weigh")

    def call(self, keys: tf.Tensor, query: tf.Tensor) -> tf.Tensor:
        """Scores.

        Args:
            keys: [B, L, A].
            query: float32 [B, D].

        Returns:
            float32 [B, L].
        """
        asked = self.query(query)[:, tf.newaxis]  # -> [B, 1, A]
        return tf.cast(self.weigh(tf.tanh(tf.cast(keys, asked.dtype) + asked))[..., 0], tf.float32)


class Attention(Decoder):
    """Soft attention (Xu et al. 2015, "Show, Attend and Tell", sections 3.1 and 4.2), with the gate
    β on the context.

    Before each word the state asks the positions; their mean, weighted by the answers, enters the
    LSTM beside the word and the logits beside the LSTM's output. Positions are read through a
    learnt projection, which a search with K beams carries along in a third of the memory.
    """

    pooled = False

    def __init__(self, config: ModelConfig, vocabulary_size: int, positions: int) -> None:
        super().__init__(config, vocabulary_size, positions)
        self.values = keras.layers.Dense(config.units, name="values")
        self.keys = keras.layers.Dense(config.attention_units, name="keys")
        self.first = keras.layers.Dense(2 * config.units, activation="tanh", name="first")
        self.score = AdditiveScore(config.attention_units)
        self.gate = keras.layers.Dense(config.units, activation="sigmoid", name="gate")
        self.context = keras.layers.Dense(4 * config.units, use_bias=False, name="context")
        self.show = keras.layers.Dense(config.units, use_bias=False, name="show")

    def begin(self, features: tf.Tensor, seed: tf.Tensor | None = None) -> Start:
        features = self._dropout(features, seed, IMAGE)
        values = self.values(features)  # -> [B, L, D]
        state = tf.cast(self.first(tf.reduce_mean(features, axis=1)), tf.float32)
        return Start((values, self.keys(values)), tuple(tf.split(state, 2, axis=-1)))

    def _advance(
        self,
        projected: tf.Tensor,
        memory: tuple[tf.Tensor, ...],
        state: State,
        mask: tf.Tensor | None,
    ) -> Step:
        values, keys = memory
        attention = tf.nn.softmax(self.score(keys, state[0]))  # -> [B, L]
        seen = tf.einsum("bl,bld->bd", tf.cast(attention, values.dtype), values)
        if self._config.context_gate:
            seen = self.gate(state[0]) * seen
        state = self.lstm.advance(projected + self.context(seen), state, mask)
        return Step(state[0] + tf.cast(self.show(seen), tf.float32), attention, state)


class Adaptive(Decoder):
    """Adaptive attention with a visual sentinel (Lu et al. 2017, "Knowing When to Look", sections
    2.2 and 2.3).

    The LSTM reads the word and the mean of the image; its new state asks the positions and the
    sentinel, which stands for what the model knows without looking. What attention the sentinel
    takes is missing from the positions.
    """

    pooled = False

    def __init__(self, config: ModelConfig, vocabulary_size: int, positions: int) -> None:
        super().__init__(config, vocabulary_size, positions)
        self.values = keras.layers.Dense(config.units, activation="relu", name="values")
        self.whole = keras.layers.Dense(config.embedding_dim, activation="relu", name="whole")
        self.keys = keras.layers.Dense(config.attention_units, name="keys")
        self.sentinel_key = keras.layers.Dense(config.attention_units, name="sentinel_key")
        self.score = AdditiveScore(config.attention_units)
        self.sentinel_inputs = keras.layers.Dense(config.units, name="sentinel_inputs")
        self.sentinel_recurrent = keras.layers.Dense(
            config.units, use_bias=False, name="sentinel_recurrent"
        )

    def begin(self, features: tf.Tensor, seed: tf.Tensor | None = None) -> Start:
        features = self._dropout(features, seed, IMAGE)
        values = self.values(features)  # -> [B, L, D]
        whole = self.whole(tf.reduce_mean(features, axis=1))  # -> [B, D]
        return Start((values, self.keys(values), whole), self.lstm.zeros(tf.shape(features)[0]))

    def _project(self, words: tf.Tensor, memory: tuple[tf.Tensor, ...]) -> tf.Tensor:
        inputs = beside(words, memory[2])
        return tf.concat(
            [self.lstm.project(inputs), self.sentinel_inputs(inputs)], axis=-1
        )  # -> [B, T, 5 D]

    def _advance(
        self,
        projected: tf.Tensor,
        memory: tuple[tf.Tensor, ...],
        state: State,
        mask: tf.Tensor | None,
    ) -> Step:
        values, keys, _ = memory
        to_lstm, to_sentinel = tf.split(projected, [4 * self.lstm.units, self.lstm.units], axis=-1)
        open_gate = tf.sigmoid(tf.cast(to_sentinel + self.sentinel_recurrent(state[0]), tf.float32))
        output, cell = state = self.lstm.advance(to_lstm, state, mask)
        sentinel = open_gate * tf.tanh(cell)  # -> [B, D]
        asked = tf.concat(
            [keys, self.sentinel_key(sentinel)[:, tf.newaxis]], axis=1
        )  # -> [B, L + 1, A]
        shares = tf.nn.softmax(self.score(asked, output))
        attention, unseen = shares[:, :-1], shares[:, -1:]
        seen = tf.einsum("bl,bld->bd", tf.cast(attention, values.dtype), values)
        return Step(output + tf.cast(seen, tf.float32) + unseen * sentinel, attention, state)
