"""The rules that all searches share: legal tokens, n-gram blocking and the norm of a length."""

import numpy as np
import tensorflow as tf

from imgcap.config import DecodeConfig
from imgcap.errors import ConfigError


def rule_out_illegal(
    logits: tf.Tensor, tokens: tf.Tensor, time: tf.Tensor, options: DecodeConfig
) -> tf.Tensor:
    """Log-probabilities of the next token, -inf for tokens that may not stand there.

    Args:
        logits: float32 [N, V].
        tokens: int32 [N, T], of which the first `time` are written.
        time: int32 [], how many tokens are written.
        options: what is legal.

    Returns:
        float32 [N, V], -inf if illegal or if the row's logits are not numbers.
    """
    log_probs = tf.nn.log_softmax(logits)
    # The softmax has spread a NaN over its whole row, so one column tells.
    legal = _legal_tokens(logits.shape[-1], time, options) & ~tf.math.is_nan(
        log_probs[:, :1]
    )  # -> [N, V]
    log_probs = tf.where(legal, log_probs, -np.inf)
    if 0 < options.block_ngrams <= options.max_length:
        log_probs = _block_ngrams(log_probs, tokens, time, options)
    return log_probs


def _legal_tokens(vocabulary_size: int, time: tf.Tensor, options: DecodeConfig) -> tf.Tensor:
    """Which tokens may stand at position `time`, apart from repeated n-grams: bool [V]."""
    greatest = max((options.end_token, *options.suppress))
    if greatest >= vocabulary_size:
        raise ConfigError(
            f"--suppress or --end_token={greatest}: the last token is {vocabulary_size - 1}"
        )
    is_end = np.arange(vocabulary_size) == options.end_token
    is_word = ~is_end
    is_word[list(options.suppress)] = False
    return (is_word & (time < options.max_length)) | (is_end & (time >= options.min_length))


def _block_ngrams(
    log_probs: tf.Tensor, tokens: tf.Tensor, time: tf.Tensor, options: DecodeConfig
) -> tf.Tensor:
    """Rules out the words that would complete an n-gram for the second time.

    Worked example, n = 2, written so far "a b a": the last word, a, also began the bigram "a b" at
    position 0, so b, the word that completed it, is ruled out.

    Args:
        log_probs: float32 [N, V] of the next token.
        tokens: int32 [N, T], of which the first `time` are written.
        time: int32 [].
        options: n is `block_ngrams`.

    Returns:
        float32 [N, V], -inf at such words.
    """
    context = options.block_ngrams - 1
    starts = options.num_tokens - context
    matches = (
        tf.range(starts) + context < time
    )  # -> [M], the n-grams that lie within what is written
    for offset in range(context):
        # Before `context` words are written the index would be negative; no n-gram matches then.
        recent = tf.gather(tokens, tf.maximum(time - context + offset, 0), axis=1)  # -> [N]
        matches &= tokens[:, offset : offset + starts] == recent[:, None]  # -> [N, M]
    closing = tokens[:, context:]  # -> [N, M], the last word of each n-gram
    rows = tf.broadcast_to(tf.range(tf.shape(tokens)[0])[:, None], tf.shape(closing))
    ceiling = tf.where(matches, -np.float32(np.inf), np.float32(np.inf))
    ceiling = tf.broadcast_to(ceiling, tf.shape(closing))
    return tf.tensor_scatter_nd_min(log_probs, tf.stack([rows, closing], axis=2), ceiling)


def length_norms(options: DecodeConfig) -> np.ndarray:
    """Divisors that turn the log-probability of a caption into its score, by its length.

    Args:
        options: the normalisation.

    Returns:
        float32 [T + 1], for 0, 1 … T tokens; never falling.
    """
    lengths = np.arange(options.num_tokens + 1)
    if options.length_normalisation == "wu":
        return (((5 + lengths) / 6) ** options.length_penalty).astype(np.float32)
    if options.length_normalisation == "mean":
        return np.maximum(lengths, 1).astype(np.float32)
    return np.ones(len(lengths), np.float32)
