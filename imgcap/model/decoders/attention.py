"""The decoders that attend to the encoder's grid, anew for every word."""

import keras
import tensorflow as tf

from imgcap.config import ModelConfig
from imgcap.model.decoders.base import IMAGE, Decoder, Start, Step, concat_image, kernel_of
from imgcap.model.decoders.loop import Constants, Multiply, State, Tensors


class AdditiveScore(keras.layers.Layer):
    """Additive attention: the energy w · tanh(key + U query) of each key (Bahdanau et al. 2015)."""

    def __init__(self, units: int) -> None:
        """Makes the layers.

        Args:
            units: width of keys and queries.
        """
        super().__init__(name="score")
        self.query = keras.layers.Dense(units, use_bias=False, name="query")
        self.energy = keras.layers.Dense(1, use_bias=False, name="energy")

    def build(self, query_units: int) -> None:
        """Makes the weights.

        Args:
            query_units: D, width of the query before its projection.
        """
        self.query.build([None, query_units])
        self.energy.build([None, self.query.units])


def energies(keys: tf.Tensor, query: tf.Tensor, energy: tf.Tensor) -> tf.Tensor:
    """Computes the energies of additive attention, whose softmax are the attention weights.

    Args:
        keys: [B, L, A].
        query: projected, [B, A].
        energy: float32 [A, 1].

    Returns:
        float32 [B, L].
    """
    hidden = tf.tanh(tf.cast(keys, query.dtype) + query[:, tf.newaxis])  # -> [B, L, A]
    found = tf.tensordot(hidden, tf.cast(energy, query.dtype), 1)  # -> [B, L, 1]
    return tf.cast(found[..., 0], tf.float32)


class Attention(Decoder):
    """Soft attention (Xu et al. 2015, "Show, Attend and Tell", sections 3.1 and 4.2).

    The context has the gate β of section 4.2.1, unless it is switched off.
    Before each word the hidden state is the query over the positions. Their mean, weighted by
    attention, is the context: it enters the LSTM beside the word, and the logits beside the LSTM's
    output. Positions are read through a learnt projection, which a search with K beams carries
    along in a third of the memory.
    """

    pooled = False

    def __init__(self, config: ModelConfig, vocabulary_size: int, positions: int) -> None:
        super().__init__(config, vocabulary_size, positions)
        self.values = keras.layers.Dense(config.units, name="values")
        self.keys = keras.layers.Dense(config.attention_units, name="keys")
        self.initial_state = keras.layers.Dense(
            2 * config.units, activation="tanh", name="initial_state"
        )
        self.score = AdditiveScore(config.attention_units)
        self.score.build(config.units)
        self.gate = keras.layers.Dense(config.units, activation="sigmoid", name="gate")
        self.context_to_gates = keras.layers.Dense(
            4 * config.units, use_bias=False, name="context_to_gates"
        )
        self.context_to_output = keras.layers.Dense(
            config.units, use_bias=False, name="context_to_output"
        )
        # Their weights alone are used, by the loop, so nothing else would build them.
        for layer in (self.context_to_gates, self.context_to_output):
            layer.build([None, config.units])
        if config.context_gate:
            self.gate.build([None, config.units])

    def begin(self, features: tf.Tensor, seed: tf.Tensor | None = None) -> Start:
        features = self._dropout(features, seed, IMAGE)
        values = self.values(features)  # -> [B, L, D]
        state = tf.cast(self.initial_state(tf.reduce_mean(features, axis=1)), tf.float32)
        return Start((values, self.keys(values)), tuple(tf.split(state, 2, axis=-1)))

    def _constants(self, memory: tuple[tf.Tensor, ...]) -> Constants:
        values, keys = memory
        layers = {
            "query": self.score.query,
            "context_to_gates": self.context_to_gates,
            "context_to_output": self.context_to_output,
        }
        tensors = {"keys": keys, "energy": tf.convert_to_tensor(self.score.energy.kernel)}
        if self._config.context_gate:
            layers["gate"] = self.gate
            tensors["gate_bias"] = tf.convert_to_tensor(self.gate.bias)
        kernels = {name: kernel_of(layer) for name, layer in layers.items()}
        recurrent = super()._constants(memory).matrices
        return Constants({**recurrent, **kernels, "values": values}, tensors)

    def _advance(
        self,
        projected: tf.Tensor,
        state: State,
        mask: tf.Tensor | None,
        multiply: Multiply,
        tensors: Tensors,
    ) -> Step:
        hidden = state[0]
        found = energies(tensors["keys"], multiply("query", hidden), tensors["energy"])
        attention_weights = tf.nn.softmax(found)  # -> [B, L]
        context = tf.cast(multiply("values", attention_weights), tf.float32)  # -> [B, D]
        if self._config.context_gate:
            opening = tf.cast(multiply("gate", hidden), tf.float32) + tensors["gate_bias"]
            context = tf.sigmoid(opening) * context
        from_context = tf.cast(multiply("context_to_gates", context), tf.float32)
        projected = tf.cast(projected, tf.float32) + from_context
        state = self.lstm.advance(projected, state, multiply, mask)
        output = state[0] + tf.cast(multiply("context_to_output", context), tf.float32)
        return Step(output, attention_weights, state)


class Adaptive(Decoder):
    """Adaptive attention with a visual sentinel (Lu et al. 2017, "Knowing When to Look").

    The LSTM reads the word and the mean of the image. Its new hidden state is the query over the
    positions and the sentinel, which stands for what the model knows without looking. The weights
    of the positions sum to 1 less the weight of the sentinel (sections 2.2 and 2.3).
    """

    pooled = False

    def __init__(self, config: ModelConfig, vocabulary_size: int, positions: int) -> None:
        super().__init__(config, vocabulary_size, positions)
        self.values = keras.layers.Dense(config.units, activation="relu", name="values")
        self.global_image = keras.layers.Dense(
            config.embedding_dim, activation="relu", name="global_image"
        )
        self.keys = keras.layers.Dense(config.attention_units, name="keys")
        self.sentinel_key = keras.layers.Dense(config.attention_units, name="sentinel_key")
        self.score = AdditiveScore(config.attention_units)
        self.sentinel_inputs = keras.layers.Dense(config.units, name="sentinel_inputs")
        self.sentinel_recurrent = keras.layers.Dense(
            config.units, use_bias=False, name="sentinel_recurrent"
        )
        # Their weights alone are used, by the loop, so nothing else would build them.
        self.score.build(config.units)
        for layer in (self.sentinel_recurrent, self.sentinel_key):
            layer.build([None, config.units])

    def begin(self, features: tf.Tensor, seed: tf.Tensor | None = None) -> Start:
        features = self._dropout(features, seed, IMAGE)
        values = self.values(features)  # -> [B, L, D]
        image = self.global_image(tf.reduce_mean(features, axis=1))  # -> [B, D]
        return Start((values, self.keys(values), image), self.lstm.zeros(tf.shape(features)[0]))

    def _project(self, words: tf.Tensor, memory: tuple[tf.Tensor, ...]) -> tf.Tensor:
        inputs = concat_image(words, memory[2])
        return tf.concat(
            [self.lstm.project(inputs), self.sentinel_inputs(inputs)], axis=-1
        )  # -> [B, T, 5 D]

    def _constants(self, memory: tuple[tf.Tensor, ...]) -> Constants:
        values, keys, _ = memory
        layers = {
            "query": self.score.query,
            "sentinel_recurrent": self.sentinel_recurrent,
            "sentinel_key": self.sentinel_key,
        }
        kernels = {name: kernel_of(layer) for name, layer in layers.items()}
        recurrent = super()._constants(memory).matrices
        tensors = {
            "keys": keys,
            "energy": tf.convert_to_tensor(self.score.energy.kernel),
            "sentinel_key_bias": tf.convert_to_tensor(self.sentinel_key.bias),
        }
        return Constants({**recurrent, **kernels, "values": values}, tensors)

    def _advance(
        self,
        projected: tf.Tensor,
        state: State,
        mask: tf.Tensor | None,
        multiply: Multiply,
        tensors: Tensors,
    ) -> Step:
        to_lstm, to_sentinel = tf.split(projected, [4 * self.lstm.units, self.lstm.units], axis=-1)
        sentinel_gate = tf.sigmoid(
            tf.cast(to_sentinel + multiply("sentinel_recurrent", state[0]), tf.float32)
        )
        hidden, cell = state = self.lstm.advance(to_lstm, state, multiply, mask)
        sentinel = sentinel_gate * tf.tanh(cell)  # -> [B, D]
        key = tf.cast(multiply("sentinel_key", sentinel), tf.float32) + tensors["sentinel_key_bias"]
        query = multiply("query", hidden)
        # Two calls, since to append the sentinel's key to the others would copy those at each word.
        found = [
            energies(keys, query, tensors["energy"])
            for keys in (tensors["keys"], key[:, tf.newaxis])
        ]
        all_weights = tf.nn.softmax(tf.concat(found, axis=1))  # -> [B, L + 1]
        attention_weights, sentinel_weight = all_weights[:, :-1], all_weights[:, -1:]
        context = tf.cast(multiply("values", attention_weights), tf.float32)  # -> [B, D]
        output = hidden + context + sentinel_weight * sentinel
        return Step(output, attention_weights, state)
