"""Several decoders of one encoder's features that choose each word together."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from imgcap.model.decoders.base import Decoder, Forced, Start

LOG, PROBABILITY = "log", "probability"
"""What the mean is taken of: log-probabilities (a geometric mean of the members' probabilities,
which the softmax of a search makes sum to 1 again) or probabilities.
"""

Parts = tuple[Any, ...]
"""Memory or state of an ensemble: that of each member, in their order."""


class Ensemble(keras.layers.Layer):
    """Decoders side by side, with the interface of one `Decoder`.

    Within a step no member reads what another one computes, so TensorFlow can run them in parallel.

    Attributes:
        members: the decoders; all take pooled features, or all the grid.
    """

    def __init__(self, members: Sequence[Decoder], weights: Sequence[float], mean_of: str) -> None:
        """Joins decoders, which keep their variables.

        Args:
            members: at least one, with all their variables.
            weights: of each in the mean, above 0; they sum to 1.
            mean_of: `LOG` or `PROBABILITY`.
        """
        super().__init__(name="ensemble")
        self.members = list(members)
        self._weights, self._mean_of = tuple(weights), mean_of

    @property
    def pooled(self) -> bool:
        """Whether the members take one vector an image instead of the encoder's grid."""
        return self.members[0].pooled

    def begin(self, features: tf.Tensor, seed: tf.Tensor | None = None) -> Start:
        """Turns features into the members' memories and initial states.

        Args:
            features: float [B, L, C].
            seed: int32 [2], of dropout; None is no dropout.

        Returns:
            Memory and state, each a tuple with one entry a member.
        """
        starts = [member.begin(features, seed) for member in self.members]
        return Start(tuple(each.memory for each in starts), tuple(each.state for each in starts))

    def step(self, tokens: tf.Tensor, memory: Parts, state: Parts) -> tuple[tf.Tensor, Parts]:
        """Reads one word and predicts the next; the step of a search.

        Args:
            tokens: int32 [B], the word read.
            memory: from `begin`, B rows.
            state: from `begin` or the step before, B rows.

        Returns:
            Combined log-probabilities float32 [B, V] of the next word, as logits, and the next
            state.
        """
        steps = [
            member.step(tokens, *parts)
            for member, *parts in zip(self.members, memory, state, strict=True)
        ]
        return self._combine([logits for logits, _ in steps]), tuple(state for _, state in steps)

    def teacher_forcing(
        self, tokens: tf.Tensor, start: Start, seed: tf.Tensor | None = None
    ) -> Forced:
        """Predicts every word of a caption from the true words before it.

        Args:
            tokens: int32 [B, T], start token first.
            start: from `begin`.
            seed: int32 [2], of dropout; None is no dropout.

        Returns:
            Combined log-probabilities, as logits, and the mean of the attention weights.
        """
        forced = [
            member.teacher_forcing(tokens, part, seed)
            for member, part in zip(self.members, _split(start), strict=True)
        ]
        return Forced(
            self._combine([each.logits for each in forced]),
            self._mean([each.attention_weights for each in forced]),
        )

    def attention_weights(self, tokens: tf.Tensor, start: Start) -> tf.Tensor:
        """Mean of the members' weights of all positions, for each word of finished captions.

        Args:
            tokens: int32 [B, T], start token first.
            start: from `begin`.

        Returns:
            float32 [B, T, L]; position t is about token t + 1.
        """
        return self._mean(
            [
                member.attention_weights(tokens, part)
                for member, part in zip(self.members, _split(start), strict=True)
            ]
        )

    def _combine(self, logits: Sequence[tf.Tensor]) -> tf.Tensor:
        """Weighted mean of the members' predictions.

        Args:
            logits: float32 [..., V] of each member.

        Returns:
            float32 [..., V]; log-probabilities up to a constant of each row.
        """
        log_probs = [tf.nn.log_softmax(each) for each in logits]
        if self._mean_of == LOG:
            return self._mean(log_probs)
        weighted = [
            each + math.log(weight) for weight, each in zip(self._weights, log_probs, strict=True)
        ]
        return tf.reduce_logsumexp(tf.stack(weighted), axis=0)

    def _mean(self, values: Sequence[tf.Tensor]) -> tf.Tensor:
        """Weighted mean of tensors of one shape, one a member."""
        return tf.add_n([weight * each for weight, each in zip(self._weights, values, strict=True)])


def _split(start: Start) -> list[Start]:
    """The start of each member."""
    return [Start(*parts) for parts in zip(start.memory, start.state, strict=True)]
