"""Beam search: of all continuations of an image's captions the K most probable are kept."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from imgcap.config import DecodeConfig
from imgcap.model.rows import count_rows, repeat_rows
from imgcap.model.search.captions import Captions, State, Step, make_captions
from imgcap.model.search.expand import expand
from imgcap.model.search.rules import length_norms


def beam(step: Step, state: State, options: DecodeConfig) -> Captions:
    """Searches the captions of best score with K = beam_width beams an image.

    Of all continuations of the open captions the K most probable are kept, the end competing with
    the words. Those that end move to the finished captions, of which the K of best score are kept;
    the others stay open. So width 1 is greedy search, and a width no smaller than the number of
    continuations is exhaustive.

    The search stops as soon as no open caption can still score better than the worst of K finished
    ones. Of equal continuations that of the better caption wins, then the smaller token; of equal
    scores, the earlier.

    Args:
        step: works on N = B * K rows; the beams of an image stand together, so what the closure
            holds is made by `repeat_rows(memory, K)`.
        state: the state before the first step, B rows; it is repeated here.
        options: the search; its settings of sampling are not used.

    Returns:
        Captions with K = beam_width.
    """
    first_rows = tf.range(count_rows(state))[:, None] * options.beam_width  # -> [B, 1]
    greatest_norm = length_norms(options)[-1]

    # Log-probabilities only fall and norms only grow, so this bound is never too low.
    def can_improve(beams: _Beams) -> tf.Tensor:
        bound = tf.reduce_max(beams.log_probs, axis=1) / greatest_norm
        return tf.reduce_any(bound > beams.finished_scores[:, -1])

    def advance(beams: _Beams) -> list[_Beams]:
        return [_advance_beams(beams, step, first_rows, options)]

    start = _start_beams(state, options)
    (beams,) = tf.while_loop(can_improve, advance, [start], maximum_iterations=options.num_tokens)
    found = beams.finished_scores, beams.finished_tokens, beams.finished_token_log_probs
    return make_captions(*found, options)


class _Beams(NamedTuple):
    """The open and the finished captions of B images, K of each.

    Attributes:
        time: int32 [], tokens written.
        last: int32 [B * K], the token to feed next.
        state: B * K rows.
        log_probs: float32 [B, K], of the open captions; -inf if none is open.
        tokens: int32 [B * K, T], of the open captions.
        token_log_probs: float32 [B * K, T], of the open captions.
        finished_scores: float32 [B, K], best first; -inf if none has finished.
        finished_tokens: int32 [B, K, T].
        finished_token_log_probs: float32 [B, K, T].
    """

    time: tf.Tensor
    last: tf.Tensor
    state: State
    log_probs: tf.Tensor
    tokens: tf.Tensor
    token_log_probs: tf.Tensor
    finished_scores: tf.Tensor
    finished_tokens: tf.Tensor
    finished_token_log_probs: tf.Tensor


def _start_beams(state: State, options: DecodeConfig) -> _Beams:
    """Opens one caption an image, without words; the other K - 1 beams are empty."""
    images, width, length = count_rows(state), options.beam_width, options.num_tokens
    first_only = np.full(width, -np.inf, np.float32)
    first_only[0] = 0.0
    return _Beams(
        time=tf.constant(0),
        last=tf.fill([images * width], options.start_token),
        state=repeat_rows(state, width),
        log_probs=tf.broadcast_to(first_only, [images, width]),
        tokens=tf.fill([images * width, length], options.pad_token),
        token_log_probs=tf.zeros([images * width, length]),
        finished_scores=tf.fill([images, width], -np.float32(np.inf)),
        finished_tokens=tf.fill([images, width, length], options.pad_token),
        finished_token_log_probs=tf.zeros([images, width, length]),
    )


def _advance_beams(
    beams: _Beams, step: Step, first_rows: tf.Tensor, options: DecodeConfig
) -> _Beams:
    """Writes one more token, keeping the K most probable continuations of each image.

    Worked example of a pick, V = 100: index 203 into the K * V continuations is beam 203 // 100 = 2
    with token 203 % 100 = 3.

    Args:
        beams: what was found so far.
        step: as in `beam`.
        first_rows: int32 [B, 1], the row of each image's first beam.
        options: as in `beam`.

    Returns:
        The captions one token longer; those that ended are among the finished ones.
    """
    width = options.beam_width
    legal, state = expand(
        step, beams.last, beams.state, beams.tokens, beams.time, options
    )  # -> [B * K, V]
    vocabulary_size = legal.shape[-1]
    totals = tf.reshape(legal + tf.reshape(beams.log_probs, [-1, 1]), [-1, width * vocabulary_size])
    log_probs, picks = tf.math.top_k(totals, width)  # -> [B, K], indices into K * V
    parents = tf.reshape(first_rows + picks // vocabulary_size, [-1])  # -> [B * K]
    words = tf.reshape(picks % vocabulary_size, [-1])  # -> [B * K]

    here = tf.range(options.num_tokens) == beams.time  # -> [T]
    word_log_probs = tf.gather_nd(legal, tf.stack([parents, words], axis=1))
    tokens = tf.where(here, words[:, None], tf.gather(beams.tokens, parents))
    token_log_probs = tf.where(
        here, word_log_probs[:, None], tf.gather(beams.token_log_probs, parents)
    )
    ended = tf.reshape(words == options.end_token, [-1, width])
    norm = tf.gather(length_norms(options), beams.time + 1)
    finished = _merge_finished(
        beams, tf.where(ended, log_probs / norm, -np.inf), tokens, token_log_probs
    )
    return _Beams(
        beams.time + 1,
        words,
        tf.nest.map_structure(lambda rows: tf.gather(rows, parents), state),
        tf.where(ended, -np.inf, log_probs),
        tokens,
        token_log_probs,
        *finished,
    )


def _merge_finished(
    beams: _Beams, scores: tf.Tensor, tokens: tf.Tensor, token_log_probs: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Selects the K best of the finished captions and the new ones.

    Args:
        beams: holds the finished captions.
        scores: float32 [B, K] of the new ones, -inf for those that have not ended.
        tokens: int32 [B * K, T].
        token_log_probs: float32 [B * K, T].

    Returns:
        The three `finished_` fields of `_Beams`.
    """
    shape = [-1, *beams.finished_tokens.shape[1:]]
    best, order = tf.math.top_k(tf.concat([beams.finished_scores, scores], axis=1), scores.shape[1])
    all_tokens = tf.concat(
        [beams.finished_tokens, tf.reshape(tokens, shape)], axis=1
    )  # -> [B, 2 * K, T]
    all_log_probs = tf.concat(
        [beams.finished_token_log_probs, tf.reshape(token_log_probs, shape)], axis=1
    )
    return (
        best,
        tf.gather(all_tokens, order, batch_dims=1),
        tf.gather(all_log_probs, order, batch_dims=1),
    )
