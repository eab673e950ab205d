"""The base class of all LSTM decoders, and the tuples that they take and give.

Every decoder has one interface: `begin(features) → memory, state` and `step(tokens, memory, state)
→ logits, state`. Memory stays the same along a caption, state changes; search reorders state alone.
Teacher forcing runs the same `_advance` along a whole caption.
"""

from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from imgcap.config import ModelConfig
from imgcap.model.decoders.loop import (
    Constants,
    Multiply,
    State,
    Tensors,
    unroll,
    unroll_with_gradient,
)
from imgcap.model.decoders.lstm import LSTM, RECURRENT_KERNEL

EMBEDDING_RANGE = 0.5
# A tied matrix also makes the logits: at ±0.5 they would start far from even.
TIED_EMBEDDING_RANGE = 0.1
# The places of dropout: each folds its own number into the step's seed.
IMAGE, WORDS, OUTPUT, RECURRENT = 0, 1, 2, 3


class Start(NamedTuple):
    """Memory and initial state of a decoder, made from the features of B images.

    Attributes:
        memory: what every step reads of the image, float [B, …] each; may be empty.
        state: what changes along the caption: the LSTM's (hidden, cell), float32 [B, D] each.
    """

    memory: tuple[tf.Tensor, ...]
    state: State


class Step(NamedTuple):
    """Result of one step of a caption.

    Attributes:
        output: float32 [B, D], from which the logits are made.
        attention_weights: float32 [B, L], of each position; [B, 0] from a decoder that does not
            attend.
        state: the next state.
    """

    output: tf.Tensor
    attention_weights: tf.Tensor
    state: State


class Forced(NamedTuple):
    """Result of teacher forcing.

    Attributes:
        logits: float32 [B, T, V]; position t is about token t + 1.
        attention_weights: float32 [B, T, L], as in `Step`.
    """

    logits: tf.Tensor
    attention_weights: tf.Tensor


def concat_image(words: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Appends one vector of the image to each word.

    Args:
        words: [B, T, D].
        image: [B, E].

    Returns:
        [B, T, D + E].
    """
    image = tf.repeat(image[:, tf.newaxis], tf.shape(words)[1], axis=1)
    return tf.concat([words, tf.cast(image, words.dtype)], axis=-1)


def kernel_of(layer: keras.layers.Dense) -> tf.Tensor:
    """A layer's kernel in the dtype that the layer computes in, [I, O]."""
    return tf.cast(layer.kernel, layer.compute_dtype)


class Decoder(keras.layers.Layer):
    """Word embedding, one LSTM, logits in float32.

    Attributes:
        pooled: whether the decoder takes one vector an image instead of the encoder's grid.
    """

    pooled = True

    def __init__(self, config: ModelConfig, vocabulary_size: int, positions: int) -> None:
        """Makes the layers.

        Args:
            config: sizes and dropout.
            vocabulary_size: V, special tokens included.
            positions: L.
        """
        super().__init__(name=config.decoder)
        # With Keras' default, ±0.05, words are faint beside the image, and the first epochs would
        # only enlarge them.
        spread = TIED_EMBEDDING_RANGE if config.tie_weights else EMBEDDING_RANGE
        words = keras.initializers.RandomUniform(-spread, spread)
        self.embedding = keras.layers.Embedding(
            vocabulary_size, config.embedding_dim, words, name="embedding"
        )
        self.lstm = LSTM(config.units)
        self._config = config
        self._attended = 0 if self.pooled else positions
        if config.tie_weights:
            self.to_embedding = keras.layers.Dense(config.embedding_dim, name="to_embedding")
            self.bias = self.add_weight(
                shape=[vocabulary_size], initializer="zeros", dtype="float32", name="bias"
            )
        else:
            self.to_logits = keras.layers.Dense(vocabulary_size, name="logits")

    def begin(self, features: tf.Tensor, seed: tf.Tensor | None = None) -> Start:
        """Turns features into memory and initial state.

        Args:
            features: float [B, L, C]; L = 1 if the decoder takes them pooled.
            seed: int32 [2], of dropout; None is no dropout.

        Returns:
            Memory and first state.
        """
        raise NotImplementedError

    def _project(self, words: tf.Tensor, memory: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Inputs of `_advance`, made from all words of a caption at once.

        Args:
            words: [B, T, D].
            memory: from `begin`.

        Returns:
            [B, T, *].
        """
        del memory
        return self.lstm.project(words)

    def _constants(self, memory: tuple[tf.Tensor, ...]) -> Constants:
        """What `_advance` reads besides word and state.

        Weights are read and cast here, once for all words of a caption.

        Args:
            memory: from `begin`.

        Returns:
            Matrices that `_advance` multiplies by, and other tensors.
        """
        del memory
        return Constants({RECURRENT_KERNEL: kernel_of(self.lstm.recurrent)}, {})

    def _advance(
        self,
        projected: tf.Tensor,
        state: State,
        mask: tf.Tensor | None,
        multiply: Multiply,
        tensors: Tensors,
    ) -> Step:
        """Reads one word.

        It may have a gradient by its arguments alone, so it reads no variable.

        Args:
            projected: [B, *], from `_project`.
            state: before the word.
            mask: of recurrent dropout, [B, D]; None is no dropout.
            multiply: multiplies rows by a matrix of `_constants`; once by each.
            tensors: of `_constants`.

        Returns:
            Output, attention weights and next state.
        """
        del tensors
        state = self.lstm.advance(projected, state, multiply, mask)
        return Step(state[0], tf.zeros([tf.shape(projected)[0], 0]), state)

    def step(
        self, tokens: tf.Tensor, memory: tuple[tf.Tensor, ...], state: State
    ) -> tuple[tf.Tensor, State]:
        """Reads one word and predicts the next; the step of a search.

        Args:
            tokens: int32 [B], the word read.
            memory: from `begin`, B rows.
            state: from `begin` or the step before, B rows.

        Returns:
            Logits float32 [B, V] of the next word, and the next state.
        """
        projected = self._project(self.embedding(tokens[:, tf.newaxis]), memory)[:, 0]
        constants = self._constants(memory)
        step = self._advance(projected, state, None, constants.multiply, constants.tensors)
        return self._logits(step.output), step.state

    def teacher_forcing(
        self, tokens: tf.Tensor, start: Start, seed: tf.Tensor | None = None
    ) -> Forced:
        """Predicts every word of a caption from the true words before it.

        Args:
            tokens: int32 [B, T], start token first.
            start: from `begin`.
            seed: int32 [2], of dropout; None is no dropout.

        Returns:
            Logits and attention weights.
        """
        outputs, attention_weights = self._unroll(tokens, start, seed, unroll_with_gradient)
        return Forced(self._logits(self._dropout(outputs, seed, OUTPUT)), attention_weights)

    def attention_weights(self, tokens: tf.Tensor, start: Start) -> tf.Tensor:
        """Weights of all positions for each word of finished captions.

        Args:
            tokens: int32 [B, T], start token first.
            start: from `begin`.

        Returns:
            float32 [B, T, L]; position t is about token t + 1.
        """
        return self._unroll(tokens, start, None, unroll)[1]

    def _unroll(
        self,
        tokens: tf.Tensor,
        start: Start,
        seed: tf.Tensor | None,
        run: Callable[..., tuple[tf.Tensor, ...]],
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Runs the decoder along captions: outputs [B, T, D] and attention weights [B, T, L].

        `run` is `unroll` or `unroll_with_gradient`.
        """
        words = self._dropout(self.embedding(tokens), seed, WORDS)
        mask = None
        if seed is not None and self._config.recurrent_dropout:
            mask = self._mask(
                [tf.shape(tokens)[0], self.lstm.units],
                self._config.recurrent_dropout,
                seed,
                RECURRENT,
            )

        def advance(
            projected: tf.Tensor, state: State, multiply: Multiply, tensors: Tensors
        ) -> tuple[tuple[tf.Tensor, ...], State]:
            step = self._advance(projected, state, mask, multiply, tensors)
            return (step.output, step.attention_weights), step.state

        inputs = self._project(words, start.memory)
        widths = self.lstm.units, self._attended
        outputs, attention_weights = run(
            advance, inputs, start.state, self._constants(start.memory), widths
        )
        return outputs, attention_weights

    def _logits(self, outputs: tf.Tensor) -> tf.Tensor:
        """Logits of outputs; with tied weights from the embedding itself (Press & Wolf 2017).

        Args:
            outputs: float32 [..., D].

        Returns:
            float32 [..., V].
        """
        if not self._config.tie_weights:
            return tf.cast(self.to_logits(outputs), tf.float32)
        vectors = self.to_embedding(outputs)  # -> [..., D]
        table = tf.cast(self.embedding.embeddings, vectors.dtype)
        # Not an einsum over "...": its gradient goes through batches of products, seventy times
        # slower on a CPU.
        return tf.cast(tf.tensordot(vectors, table, [[-1], [1]]), tf.float32) + self.bias

    def _dropout(self, values: tf.Tensor, seed: tf.Tensor | None, place: int) -> tf.Tensor:
        """Dropout as a function of the seed and the place in the model.

        It keeps no state of its own, so a resumed run draws what an undisturbed one would have
        drawn. Variational dropout has one mask for all words of a caption.

        Args:
            values: float [B, …].
            seed: int32 [2]; None is no dropout.
            place: IMAGE, WORDS, OUTPUT or RECURRENT.

        Returns:
            The values, some of them 0 and the others scaled up.
        """
        if seed is None or not self._config.dropout:
            return values
        shape = tf.shape(values)
        if self._config.variational_dropout and len(values.shape) == 3 and place != IMAGE:
            shape = tf.stack([shape[0], 1, shape[2]])
        return values * tf.cast(self._mask(shape, self._config.dropout, seed, place), values.dtype)

    def _mask(self, shape: tf.Tensor | list, rate: float, seed: tf.Tensor, place: int) -> tf.Tensor:
        """Draws a mask that is 0 with probability `rate`, else 1 / (1 - rate): float32."""
        seed = tf.random.experimental.stateless_fold_in(seed, place)
        kept = tf.random.stateless_uniform(shape, seed, alg="philox") >= rate
        return tf.cast(kept, tf.float32) / (1.0 - rate)
