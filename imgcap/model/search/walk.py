"""The walk, which writes captions token by token without looking back; and greedy search by it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from imgcap.config import DecodeConfig
from imgcap.model.rows import count_rows, repeat_rows
from imgcap.model.search.captions import Captions, State, Step, caption_lengths, make_captions
from imgcap.model.search.expand import expand
from imgcap.model.search.rules import length_norms


class Walk(NamedTuple):
    """The captions of N rows, one a row, while they are written.

    Attributes:
        time: int32 [], tokens written.
        last: int32 [N], the token to feed next.
        state: N rows.
        log_probs: float32 [N], of the tokens so far; -inf if the caption died.
        done: bool [N], whether the caption ended or died.
        tokens: int32 [N, T].
        token_log_probs: float32 [N, T].
    """

    time: tf.Tensor
    last: tf.Tensor
    state: State
    log_probs: tf.Tensor
    done: tf.Tensor
    tokens: tf.Tensor
    token_log_probs: tf.Tensor


Choose = Callable[[tf.Tensor, Walk], tf.Tensor]
"""(log-probabilities float32 [N, V] of the next token, -inf if illegal; what is written so far) ->
tokens int32 [N]. What is chosen for a row that is done is not used.
"""


def write_captions(
    step: Step, state: State, options: DecodeConfig, choose: Choose, copies: int
) -> Captions:
    """Writes captions token by token, without looking back.

    Args:
        step: works on N = B * copies rows; those of an image stand together.
        state: the state before the first step, B rows.
        options: what is legal, and the normalisation of scores.
        choose: chooses the next token of each row.
        copies: K, the captions of an image.

    Returns:
        Captions, sorted by score.
    """
    rows = count_rows(state) * copies
    start = Walk(
        time=tf.constant(0),
        last=tf.fill([rows], options.start_token),
        state=repeat_rows(state, copies),
        log_probs=tf.zeros([rows]),
        done=tf.zeros([rows], tf.bool),
        tokens=tf.fill([rows, options.num_tokens], options.pad_token),
        token_log_probs=tf.zeros([rows, options.num_tokens]),
    )

    def advance(walk: Walk) -> list[Walk]:
        return [_advance_walk(walk, step, choose, options)]

    (walk,) = tf.while_loop(
        lambda walk: ~tf.reduce_all(walk.done),
        advance,
        [start],
        maximum_iterations=options.num_tokens,
    )
    return _sort_walks(walk, copies, options)


def _advance_walk(walk: Walk, step: Step, choose: Choose, options: DecodeConfig) -> Walk:
    """Writes one more token of every caption that is not done."""
    legal, state = expand(step, walk.last, walk.state, walk.tokens, walk.time, options)  # -> [N, V]
    chosen = choose(legal, walk)  # -> [N]
    token_log_probs = tf.where(walk.done, 0.0, tf.gather(legal, chosen, batch_dims=1))
    tokens = tf.where(walk.done, options.pad_token, chosen)
    log_probs = walk.log_probs + token_log_probs
    here = tf.range(options.num_tokens) == walk.time  # -> [T]
    return Walk(
        time=walk.time + 1,
        last=tokens,
        state=state,
        log_probs=log_probs,
        done=walk.done | (tokens == options.end_token) | (log_probs == -np.inf),
        tokens=tf.where(here, tokens[:, None], walk.tokens),
        token_log_probs=tf.where(here, token_log_probs[:, None], walk.token_log_probs),
    )


def _sort_walks(walk: Walk, copies: int, options: DecodeConfig) -> Captions:
    """Groups finished rows by image, `copies` each, and sorts each group by score."""
    shape = [-1, copies, options.num_tokens]
    norms = tf.gather(length_norms(options), caption_lengths(walk.tokens, options))  # -> [N]
    scores, order = tf.math.top_k(tf.reshape(walk.log_probs / norms, [-1, copies]), copies)
    tokens = tf.gather(tf.reshape(walk.tokens, shape), order, batch_dims=1)
    token_log_probs = tf.gather(tf.reshape(walk.token_log_probs, shape), order, batch_dims=1)
    return make_captions(scores, tokens, token_log_probs, options)


def greedy(step: Step, state: State, options: DecodeConfig) -> Captions:
    """Takes the most probable legal token at each step; of equal ones the smallest.

    Args:
        step: works on N = B rows.
        state: the state before the first step, B rows.
        options: the search; its settings of beams and of sampling are not used.

    Returns:
        Captions with K = 1.
    """

    def choose(log_probs: tf.Tensor, walk: Walk) -> tf.Tensor:
        del walk
        return tf.math.top_k(log_probs, 1).indices[:, 0]

    return write_captions(step, state, options, choose, copies=1)
