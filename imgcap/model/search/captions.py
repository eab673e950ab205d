"""The types that all searches share: `Step` and `State` of the model, and the `Captions` found."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from imgcap.config import DecodeConfig
from imgcap.model.search.rules import length_norms

State = Any
"""Any nest of at least one tensor, each with N rows. What never changes along a caption belongs in
the closure of `step`.
"""

Step = Callable[[tf.Tensor, State], tuple[tf.Tensor, State]]
"""(tokens int32 [N], state) -> (logits float32 [N, V], state of the same structure and shapes)."""

Bind = Callable[[int], Step]
"""copies -> the step of N = B * copies rows; those of an image stand together."""


class Captions(NamedTuple):
    """K captions of each of B images, best first: by score, or as the search says.

    A caption that was not found has score -inf, length 0 and only padding.

    Attributes:
        tokens: int32 [B, K, T], words, the end, padding; T = max_length + 1.
        scores: float32 [B, K], log-probability divided by the length normalisation.
        log_probs: float32 [B, K], natural logarithm.
        token_log_probs: float32 [B, K, T], summands of log_probs; 0 after the end.
        lengths: int32 [B, K], tokens including the end.
    """

    tokens: tf.Tensor
    scores: tf.Tensor
    log_probs: tf.Tensor
    token_log_probs: tf.Tensor
    lengths: tf.Tensor


def make_captions(
    scores: tf.Tensor, tokens: tf.Tensor, token_log_probs: tf.Tensor, options: DecodeConfig
) -> Captions:
    """Blanks the captions that were not found, and derives the other fields.

    Args:
        scores: float32 [B, K], best first; -inf if not found.
        tokens: int32 [B, K, T].
        token_log_probs: float32 [B, K, T].
        options: the search.

    Returns:
        The captions.
    """
    found = scores > -np.inf
    tokens = tf.where(found[:, :, None], tokens, options.pad_token)
    token_log_probs = tf.where(found[:, :, None], token_log_probs, 0.0)
    lengths = caption_lengths(tokens, options)
    log_probs = scores * tf.gather(length_norms(options), lengths)
    return Captions(tokens, scores, log_probs, token_log_probs, lengths)


def caption_lengths(tokens: tf.Tensor, options: DecodeConfig) -> tf.Tensor:
    """Counts the tokens of captions up to and including the end.

    With end token 2, [7, 5, 2, 0] has its one end at position 3, counted from 1: length 3.

    Args:
        tokens: int32 [..., T], at most one end token each.
        options: names the end token.

    Returns:
        int32 [...]; 0 without an end.
    """
    is_end = tf.cast(tokens == options.end_token, tf.int32)
    return tf.reduce_sum(is_end * tf.range(1, options.num_tokens + 1), axis=-1)
