"""Diverse beam search: captions of an image that differ, each written past the earlier ones."""

import numpy as np
import tensorflow as tf

from imgcap.config import DecodeConfig
from imgcap.model.search.captions import Captions, State, Step
from imgcap.model.search.walk import Walk, write_captions


def diverse(step: Step, state: State, options: DecodeConfig) -> Captions:
    """Searches K = beam_width captions of an image that differ (Vijayakumar et al. 2018).

    Diverse beam search with K groups of one beam. At each step the groups of an image choose one
    after the other. A group takes the legal token with the greatest log-probability less
    `options.diversity` times the number of earlier groups that took this token at this step
    (Hamming diversity); of equal ones the smallest. So the first group is greedy search.

    Args:
        step: works on N = B * K rows; those of an image stand together.
        state: the state before the first step, B rows.
        options: the search; its settings of sampling are not used.

    Returns:
        Captions with K = beam_width, sorted by score. The scores know nothing of diversity: they
        are the ones that teacher forcing gives the same tokens.
    """

    def choose(log_probs: tf.Tensor, walk: Walk) -> tf.Tensor:
        return _choose_in_turn(log_probs, walk.done, options)

    return write_captions(step, state, options, choose, copies=options.beam_width)


def _choose_in_turn(log_probs: tf.Tensor, done: tf.Tensor, options: DecodeConfig) -> tf.Tensor:
    """Chooses a token for each group, the groups of an image in turn.

    Worked example, diversity = .5, log-probabilities [-1., -1.2, -3.] in all of three groups: the
    first takes token 0, which then counts -1.5; so the second takes token 1, which then counts
    -1.7; so the third takes token 0 again.

    Args:
        log_probs: float32 [B * K, V], -inf if illegal.
        done: bool [B * K], whether a caption ended or died: it takes no token any more.
        options: how many groups, and what repeating costs.

    Returns:
        int32 [B * K]; any token if none is legal.
    """
    groups = options.beam_width
    vocabulary_size = log_probs.shape[-1]
    by_group = tf.reshape(log_probs, [-1, groups, vocabulary_size])  # -> [B, K, V]
    is_open = ~tf.reshape(done, [-1, groups])  # -> [B, K]
    taken = tf.zeros_like(by_group[:, 0])  # -> [B, V], by how many groups
    chosen = []
    for group in range(groups):
        penalised = by_group[:, group] - options.diversity * taken
        greatest, tokens = tf.math.top_k(penalised, 1)  # -> [B, 1], [B, 1]
        chosen.append(tokens)
        takes = is_open[:, group : group + 1] & (greatest > -np.inf)
        taken += tf.where(takes, tf.one_hot(tokens[:, 0], vocabulary_size), 0.0)
    return tf.reshape(tf.concat(chosen, axis=1), [-1])
