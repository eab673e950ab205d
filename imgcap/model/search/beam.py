"""Greedy, beam and sampling search: pure functions of `step`, batched, wholly in the graph.

A caption is at most `max_length` words and then the end token. Behind the last word the end is
forced and its log-probability counts, so every caption returned is complete. Its length counts its
words and the end.

A token is legal unless it is suppressed, would end the caption before `min_length` words, or would
repeat an n-gram; from `min_length` words on the end is always legal. A caption that has no legal
token dies. Log-probabilities are `log_softmax` of the raw logits over the whole vocabulary. Illegal
tokens are ruled out behind the softmax, so that a score equals the one that teacher forcing gives
the same tokens.

What was not found is a caption of padding with score -inf: fewer captions exist than were asked
for, every one died, or the logits are not numbers. A row's answer depends on no other row of its
batch, rounding apart.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from imgcap.config import DecodeConfig
from imgcap.errors import ConfigError

# Any nest of at least one tensor, each with N rows. What never changes belongs into the closure of
# `step`.
State = Any
# (tokens int32 [N], state) -> (logits float32 [N, V], state of the same structure and shapes).
Step = Callable[[tf.Tensor, State], tuple[tf.Tensor, State]]


class Captions(NamedTuple):
    """K captions of each of B images, best first; one not found has score -inf, length 0 and only
    padding.
    """

    tokens: tf.Tensor  # int32 [B, K, T]: words, the end, padding; T = max_length + 1
    scores: tf.Tensor  # float32 [B, K]: log-probability divided by the length normalisation
    log_probs: tf.Tensor  # float32 [B, K]: natural logarithm
    token_log_probs: tf.Tensor  # float32 [B, K, T]: summands of log_probs; 0 behind the end
    lengths: tf.Tensor  # int32 [B, K]: tokens with the end


def greedy(step: Step, state: State, options: DecodeConfig) -> Captions:
    """Takes the most probable legal token at each step; of equal ones the smallest.

    Args:
        step: works on N = B rows.
        state: the state before the first step, B rows.
        options: the settings of beams and of sampling are not used.

    Returns:
        Captions with K = 1.
    """

    def choose(log_probs: tf.Tensor, time: tf.Tensor) -> tf.Tensor:
        return tf.math.top_k(log_probs, 1).indices[:, 0]

    return _walk(step, state, options, choose, copies=1)


def sample(
    step: Step, state: State, options: DecodeConfig, seeds: tf.Tensor | None = None
) -> Captions:
    """Draws each token from the model's distribution over the legal ones.

    The distribution is softmax(log-probability / temperature) over the legal tokens, cut to its
    nucleus: the fewest most probable tokens that hold `top_p` of it, and those as probable as the
    least of them (Holtzman et al. 2020).

    Args:
        step: works on N = B * num_samples rows; those of an image stand together.
        state: the state before the first step, B rows.
        options: the settings of beams are not used.
        seeds: int32 or int64 [B], one for each row; without them `options.seed` for every row, so
            that a row's captions depend on its state alone (and two rows of equal state get the
            same captions).

    Returns:
        Captions with K = num_samples, sorted by score.
    """
    if seeds is None:
        seeds = tf.fill([_num_rows(state)], options.seed)
    uniforms = _draw_uniforms(seeds, options)

    def choose(log_probs: tf.Tensor, time: tf.Tensor) -> tf.Tensor:
        return _choose_by_chance(log_probs, tf.gather(uniforms, time, axis=1), options)

    return _walk(step, state, options, choose, copies=options.num_samples)


def beam(step: Step, state: State, options: DecodeConfig) -> Captions:
    """Beam search, K = beam_width.

    Of all continuations of the open captions the K most probable are kept, the end competing with
    the words. Those that end move to the finished captions, of which the K of best score are kept;
    the others stay open. So width 1 is greedy search, and a width no smaller than the number of
    continuations is exhaustive.

    The search stops as soon as no open caption can still score better than the worst of K finished
    ones. Of equal continuations that of the better caption wins, then the smaller token; of equal
    scores, the earlier.

    Args:
        step: works on N = B * K rows; the beams of an image stand together, so what the closure
            holds is made by `tf.repeat(memory, K, axis=0)`.
        state: the state before the first step, B rows; it is repeated here.
        options: the settings of sampling are not used.

    Returns:
        Captions with K = beam_width.
    """
    first_rows = tf.range(_num_rows(state))[:, None] * options.beam_width  # -> [B, 1]
    greatest_norm = _length_norms(options)[-1]

    # Log-probabilities only fall and norms only grow, so this bound is never too low.
    def can_improve(beams: _Beams) -> tf.Tensor:
        bound = tf.reduce_max(beams.log_probs, axis=1) / greatest_norm
        return tf.reduce_any(bound > beams.finished_scores[:, -1])

    def advance(beams: _Beams) -> list[_Beams]:
        return [_advance_beams(beams, step, first_rows, options)]

    start = _start_beams(state, options)
    (beams,) = tf.while_loop(can_improve, advance, [start], maximum_iterations=options.num_tokens)
    found = beams.finished_scores, beams.finished_tokens, beams.finished_token_log_probs
    return _make_captions(*found, options)


# (log-probabilities float32 [N, V], time int32 []) -> tokens int32 [N].
_Choose = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


class _Walk(NamedTuple):
    """One caption a row, as greedy search and sampling write it."""

    time: tf.Tensor  # int32 []: tokens written
    last: tf.Tensor  # int32 [N]: the token to feed next
    state: State
    log_probs: tf.Tensor  # float32 [N]: of the tokens so far; -inf if the caption died
    done: tf.Tensor  # bool [N]: ended or died
    tokens: tf.Tensor  # int32 [N, T]
    token_log_probs: tf.Tensor  # float32 [N, T]


def _walk(
    step: Step, state: State, options: DecodeConfig, choose: _Choose, copies: int
) -> Captions:
    """Writes `copies` captions an image, token by token, without looking back."""
    rows = _num_rows(state) * copies
    start = _Walk(
        time=tf.constant(0),
        last=tf.fill([rows], options.start_token),
        state=_repeat_rows(state, copies),
        log_probs=tf.zeros([rows]),
        done=tf.zeros([rows], tf.bool),
        tokens=tf.fill([rows, options.num_tokens], options.pad_token),
        token_log_probs=tf.zeros([rows, options.num_tokens]),
    )

    def advance(walk: _Walk) -> list[_Walk]:
        return [_advance_walk(walk, step, choose, options)]

    (walk,) = tf.while_loop(
        lambda walk: ~tf.reduce_all(walk.done),
        advance,
        [start],
        maximum_iterations=options.num_tokens,
    )
    return _sort_walks(walk, copies, options)


def _advance_walk(walk: _Walk, step: Step, choose: _Choose, options: DecodeConfig) -> _Walk:
    legal, state = _expand(
        step, walk.last, walk.state, walk.tokens, walk.time, options
    )  # -> [N, V]
    chosen = choose(legal, walk.time)  # -> [N]
    token_log_probs = tf.where(walk.done, 0.0, tf.gather(legal, chosen, batch_dims=1))
    tokens = tf.where(walk.done, options.pad_token, chosen)
    log_probs = walk.log_probs + token_log_probs
    here = tf.range(options.num_tokens) == walk.time  # -> [T]
    return _Walk(
        time=walk.time + 1,
        last=tokens,
        state=state,
        log_probs=log_probs,
        done=walk.done | (tokens == options.end_token) | (log_probs == -np.inf),
        tokens=tf.where(here, tokens[:, None], walk.tokens),
        token_log_probs=tf.where(here, token_log_probs[:, None], walk.token_log_probs),
    )


def _sort_walks(walk: _Walk, copies: int, options: DecodeConfig) -> Captions:
    shape = [-1, copies, options.num_tokens]
    norms = tf.gather(_length_norms(options), _lengths(walk.tokens, options))  # -> [N]
    scores, order = tf.math.top_k(tf.reshape(walk.log_probs / norms, [-1, copies]), copies)
    tokens = tf.gather(tf.reshape(walk.tokens, shape), order, batch_dims=1)
    token_log_probs = tf.gather(tf.reshape(walk.token_log_probs, shape), order, batch_dims=1)
    return _make_captions(scores, tokens, token_log_probs, options)


class _Beams(NamedTuple):
    """The open and the finished captions of B images, K of each."""

    time: tf.Tensor  # int32 []: tokens written
    last: tf.Tensor  # int32 [B * K]: the token to feed next
    state: State  # B * K rows
    log_probs: tf.Tensor  # float32 [B, K]: of the open captions; -inf where none is open
    tokens: tf.Tensor  # int32 [B * K, T]: of the open captions
    token_log_probs: tf.Tensor  # float32 [B * K, T]
    finished_scores: tf.Tensor  # float32 [B, K]: best first; -inf where none has finished
    finished_tokens: tf.Tensor  # int32 [B, K, T]
    finished_token_log_probs: tf.Tensor  # float32 [B, K, T]


def _start_beams(state: State, options: DecodeConfig) -> _Beams:
    """One open caption an image, without words."""
    images, width, length = _num_rows(state), options.beam_width, options.num_tokens
    first_only = np.full(width, -np.inf, np.float32)
    first_only[0] = 0.0
    return _Beams(
        time=tf.constant(0),
        last=tf.fill([images * width], options.start_token),
        state=_repeat_rows(state, width),
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
    """Writes one more token: K continuations an image are kept, and sorted into finished and open
    ones.

    Args:
        beams: what was found so far.
        step: as in `beam`.
        first_rows: int32 [B, 1], the row of each image's first beam.
        options: as in `beam`.
    """
    width = options.beam_width
    legal, state = _expand(
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
    norm = tf.gather(_length_norms(options), beams.time + 1)
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
    """The K best of the finished captions and of new ones.

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


def _expand(
    step: Step,
    last: tf.Tensor,
    state: State,
    tokens: tf.Tensor,
    time: tf.Tensor,
    options: DecodeConfig,
) -> tuple[tf.Tensor, State]:
    """One step of the model, illegal tokens ruled out.

    Args:
        step: the model.
        last: int32 [N], the token to feed.
        state: N rows.
        tokens: int32 [N, T], written so far.
        time: int32 [], how many tokens are written.
        options: what is legal.

    Returns:
        Log-probabilities, float32 [N, V], -inf where illegal or where the row's logits are not
        numbers; and the new state.
    """
    logits, new_state = step(last, state)
    # A loop keeps its shapes; a step that loses a static one (by a reshape, say) is given it back.
    tf.nest.map_structure(lambda new, old: new.set_shape(old.shape), new_state, state)
    log_probs = tf.nn.log_softmax(logits)
    # The softmax has spread a NaN over its whole row, so one column tells.
    legal = _legal_tokens(logits.shape[-1], time, options) & ~tf.math.is_nan(
        log_probs[:, :1]
    )  # -> [N, V]
    log_probs = tf.where(legal, log_probs, -np.inf)
    if 0 < options.block_ngrams <= options.max_length:
        log_probs = _block_ngrams(log_probs, tokens, time, options)
    return log_probs, new_state


def _legal_tokens(vocabulary_size: int, time: tf.Tensor, options: DecodeConfig) -> tf.Tensor:
    """Which tokens may stand at position `time`, n-grams apart: bool [V]."""
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
    """Rules out the words that would close an n-gram for the second time.

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


def _length_norms(options: DecodeConfig) -> np.ndarray:
    """What the log-probability of 0, 1 … T tokens is divided by: float32 [T + 1], never falling."""
    lengths = np.arange(options.num_tokens + 1)
    if options.length_normalisation == "wu":
        return (((5 + lengths) / 6) ** options.length_penalty).astype(np.float32)
    if options.length_normalisation == "mean":
        return np.maximum(lengths, 1).astype(np.float32)
    return np.ones(len(lengths), np.float32)


def _draw_uniforms(seeds: tf.Tensor, options: DecodeConfig) -> tf.Tensor:
    """The chance in a search: float32 [B * num_samples, T] in [0, 1), each row's from its own
    seed.
    """
    shape = [options.num_samples, options.num_tokens]

    def draw(seed: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_uniform(
            shape, tf.stack([seed, tf.zeros_like(seed)]), alg="philox"
        )

    draws = tf.map_fn(draw, seeds, fn_output_signature=tf.TensorSpec(shape, tf.float32))
    return tf.reshape(draws, [-1, options.num_tokens])


def _choose_by_chance(
    log_probs: tf.Tensor, uniforms: tf.Tensor, options: DecodeConfig
) -> tf.Tensor:
    """Inverts the cumulative distribution.

    Args:
        log_probs: float32 [N, V], -inf where illegal.
        uniforms: float32 [N] in [0, 1).
        options: temperature and top_p.

    Returns:
        int32 [N]; any token where none is legal.
    """
    # Scaled to a maximum of 1; the bound keeps a row without a legal token from -inf - -inf.
    greatest = tf.maximum(tf.reduce_max(log_probs, axis=1, keepdims=True), tf.float32.min)
    weights = tf.exp((log_probs - greatest) / options.temperature)
    if options.top_p < 1.0:
        weights = _cut_to_nucleus(weights, options.top_p)
    # Only tokens of some weight are steps of the ladder, so that rounding can't land on another.
    ladder = tf.where(weights > 0.0, tf.cumsum(weights, axis=1), 0.0)
    height = uniforms[:, None] * tf.reduce_max(ladder, axis=1, keepdims=True)
    return tf.math.top_k(tf.cast(ladder > height, tf.float32), 1).indices[:, 0]


def _cut_to_nucleus(weights: tf.Tensor, top_p: float) -> tf.Tensor:
    """Weights [N, V] with 0 outside the nucleus."""
    ordered = tf.sort(weights, axis=1, direction="DESCENDING")
    above = tf.cumsum(ordered, axis=1, exclusive=True)
    inside = above < top_p * tf.reduce_sum(ordered, axis=1, keepdims=True)
    least = tf.reduce_min(tf.where(inside, ordered, np.inf), axis=1, keepdims=True)
    return tf.where(weights >= least, weights, 0.0)


def _make_captions(
    scores: tf.Tensor, tokens: tf.Tensor, token_log_probs: tf.Tensor, options: DecodeConfig
) -> Captions:
    """Blanks what was not found, and adds what follows from the rest."""
    found = scores > -np.inf
    tokens = tf.where(found[:, :, None], tokens, options.pad_token)
    token_log_probs = tf.where(found[:, :, None], token_log_probs, 0.0)
    lengths = _lengths(tokens, options)
    log_probs = scores * tf.gather(_length_norms(options), lengths)
    return Captions(tokens, scores, log_probs, token_log_probs, lengths)


def _lengths(tokens: tf.Tensor, options: DecodeConfig) -> tf.Tensor:
    """Tokens of each caption [..., T] with its one end: int32 [...]; 0 without an end."""
    is_end = tf.cast(tokens == options.end_token, tf.int32)
    return tf.reduce_sum(is_end * tf.range(1, options.num_tokens + 1), axis=-1)


def _num_rows(state: State) -> tf.Tensor | int:
    first = tf.nest.flatten(state)[0]
    return tf.shape(first)[0] if first.shape[0] is None else first.shape[0]


def _repeat_rows(state: State, copies: int) -> State:
    return tf.nest.map_structure(lambda rows: tf.repeat(rows, copies, axis=0), state)
