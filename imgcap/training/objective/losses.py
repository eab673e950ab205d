"""What a caption's logits cost."""

from typing import NamedTuple

import tensorflow as tf


class TokenLoss(NamedTuple):
    """A sum and what it is to be divided by, so that replicas can add both up before they divide.

    Attributes:
        total: float32 [], cross-entropy in nats, summed over real tokens.
        tokens: float32 [], the number of real tokens.
        reward: float32 [], what sampled captions earn, CIDEr in 0..10, summed over the captions
            that they are compared with; 0 where none are sampled.
    """

    total: tf.Tensor
    tokens: tf.Tensor
    reward: tf.Tensor | float = 0.0


def cross_entropy(logits: tf.Tensor, targets: tf.Tensor, label_smoothing: float = 0.0) -> TokenLoss:
    """Cross-entropy of the next word under teacher forcing.

    Args:
        logits: float32 [B, T, V].
        targets: int32 [B, T]; 0 marks padding, which costs and counts nothing.
        label_smoothing: probability taken from the true word and shared by all V words (Szegedy et
            al. 2016).

    Returns:
        The sum over real tokens and their number.
    """
    real = tf.cast(targets != 0, tf.float32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)
    if label_smoothing:
        # Against the uniform distribution: log(sum(exp)) - mean, which needs no one-hot targets of
        # [B, T, V].
        uniform = tf.reduce_logsumexp(logits, axis=-1) - tf.reduce_mean(logits, axis=-1)
        losses = (1.0 - label_smoothing) * losses + label_smoothing * uniform
    return TokenLoss(tf.reduce_sum(losses * real), tf.reduce_sum(real))


def doubly_stochastic(attention: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """What it costs that a caption does not look at every position once in all: Σ (1 - Σ_t α_ti)²
    (Xu et al. 2015, equation 14).

    Args:
        attention: float32 [B, T, L].
        targets: int32 [B, T]; 0 marks padding, where nobody looks; rows of padding alone cost
            nothing.

    Returns:
        float32 [], summed over positions and captions.
    """
    real = tf.cast(targets != 0, tf.float32)
    seen = tf.reduce_sum(attention * real[:, :, tf.newaxis], axis=1)  # -> [B, L]
    return tf.reduce_sum(tf.square(1.0 - seen) * real[:, :1])
