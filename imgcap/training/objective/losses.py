"""Losses of a caption's logits and of its attention."""

from typing import NamedTuple

import tensorflow as tf


class TokenLoss(NamedTuple):
    """The sum of a loss and the number to divide it by: replicas add up both before they divide.

    Attributes:
        total: float32 [], in nats, summed over real tokens.
        tokens: float32 [], the number of real tokens.
        reward: float32 [], CIDEr in 0..10 of sampled captions, summed over the captions that they
            are compared with; 0 if none are sampled.
    """

    total: tf.Tensor
    tokens: tf.Tensor
    reward: tf.Tensor | float = 0.0


def cross_entropy(logits: tf.Tensor, targets: tf.Tensor, label_smoothing: float = 0.0) -> TokenLoss:
    """Computes the cross-entropy of the next word under teacher forcing.

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


def divergence(logits: tf.Tensor, teacher_logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Computes the Kullback-Leibler divergence Σ p · (log p - log q) of student q from teacher p.

    Its gradient is that of the cross-entropy - Σ p · log q. It is 0 if the student has learnt all,
    where cross-entropy would be the teacher's entropy, which says nothing about the student.

    Args:
        logits: float32 [B, T, V], of the student.
        teacher_logits: float32 [B, T, V]; no gradient flows into them.
        targets: int32 [B, T]; 0 marks padding, which costs nothing.

    Returns:
        float32 [], nats, summed over real tokens.
    """
    log_probs = tf.stop_gradient(tf.nn.log_softmax(teacher_logits))
    probs = tf.exp(log_probs)
    entropy = -tf.reduce_sum(probs * log_probs, axis=-1)  # -> [B, T]
    # One fused op for value and gradient.
    crossed = tf.nn.softmax_cross_entropy_with_logits(labels=probs, logits=logits)
    return tf.reduce_sum((crossed - entropy) * tf.cast(targets != 0, tf.float32))


def doubly_stochastic(attention: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Computes the regulariser of attention Σ (1 - Σ_t α_ti)² (Xu et al. 2015, equation 14).

    It is 0 if each caption attends to each position once in all.

    Args:
        attention: float32 [B, T, L], weights that sum to 1 over the positions.
        targets: int32 [B, T]; 0 marks padding, whose weights do not count; rows of nothing but
            padding cost nothing.

    Returns:
        float32 [], summed over positions and captions.
    """
    real = tf.cast(targets != 0, tf.float32)
    seen = tf.reduce_sum(attention * real[:, :, tf.newaxis], axis=1)  # -> [B, L]
    return tf.reduce_sum(tf.square(1.0 - seen) * real[:, :1])
