"""Captions drawn from a decoder while it trains, without work on those that have ended."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from imgcap.config import DecodeConfig
from imgcap.data.text.vocabulary import PAD
from imgcap.model.captioner import Captioner
from imgcap.model.decoders import Start
from imgcap.model.rows import gather_rows
from imgcap.model.search.captions import State
from imgcap.model.search.sampling import draw_uniforms

# How often captions that ended are taken out of the batch. Of 160 drawn at temperature 0.5 one
# always has 20 words, and their mean is 11.
STAGES = 4


class _Draft(NamedTuple):
    """The captions while they are drawn: n of all N are still in the batch.

    Attributes:
        time: int32 [], tokens written.
        last: int32 [n], the token to feed next; padding after a caption's end.
        state: of the decoder, n rows.
        tokens: int32 [N, T], of all captions.
    """

    time: tf.Tensor
    last: tf.Tensor
    state: State
    tokens: tf.Tensor


def draw_captions(
    captioner: Captioner, start: Start, options: DecodeConfig, seeds: tf.Tensor
) -> tf.Tensor:
    """Draws the captions that `search.sample` draws, apart from rounding, in less time.

    The batch shrinks as captions end, no log-probabilities or scores are computed, and the forced
    end after `max_length` words costs no step.

    Args:
        captioner: whose decoder is drawn from.
        start: of B images.
        options: number of samples, temperature, suppressed tokens, greatest length; the other
            settings are not used.
        seeds: int32 [B], one for each image.

    Returns:
        int32 [B, S, T], without a gradient; in no order of score.
    """
    uniforms = draw_uniforms(seeds, options)  # -> [N, T]
    captions = tf.shape(uniforms)[0]
    rows = tf.range(captions)  # -> [n], the captions that are in the batch
    draft = _Draft(
        time=tf.constant(0),
        last=tf.fill([captions], options.start_token),
        state=gather_rows(start.state, rows // options.num_samples),
        tokens=tf.fill([captions, options.num_tokens], PAD),
    )
    for stage in range(STAGES):
        few = captions * (STAGES - 1 - stage) // STAGES
        draft = _draw_until_few(captioner, start, options, uniforms, rows, draft, few)
        going_on = tf.where(_goes_on(draft.last, options))[:, 0]
        rows = tf.gather(rows, going_on)
        last, state = gather_rows((draft.last, draft.state), going_on)
        draft = draft._replace(last=last, state=state)
    ends = tf.fill(tf.shape(rows), options.end_token)
    tokens = _write(draft.tokens, rows, tf.constant(options.max_length), ends)
    return tf.stop_gradient(tf.reshape(tokens, [-1, options.num_samples, options.num_tokens]))


def policy_logits(logits: tf.Tensor, options: DecodeConfig) -> tf.Tensor:
    """Turns a decoder's logits into those whose softmax captions are drawn from.

    Args:
        logits: float32 [..., V].
        options: temperature and suppressed tokens.

    Returns:
        float32 [..., V].
    """
    penalty = np.zeros(logits.shape[-1], np.float32)
    penalty[list(options.suppress)] = 1e9
    return logits / options.temperature - penalty


def _draw_until_few(
    captioner: Captioner,
    start: Start,
    options: DecodeConfig,
    uniforms: tf.Tensor,
    rows: tf.Tensor,
    draft: _Draft,
    few: tf.Tensor,
) -> _Draft:
    """Draws words of the captions `rows`, int32 [n], until no more than `few` of them go on."""
    memory = gather_rows(start.memory, rows // options.num_samples)
    uniforms = tf.gather(uniforms, rows)

    def many_go_on(draft: _Draft) -> tf.Tensor:
        return tf.math.count_nonzero(_goes_on(draft.last, options), dtype=tf.int32) > few

    def advance(draft: _Draft) -> list[_Draft]:
        logits, state = captioner.decoder.step(draft.last, memory, draft.state)
        # A loop keeps its shapes; a step that loses a static one is given it back.
        tf.nest.map_structure(lambda new, old: new.set_shape(old.shape), state, draft.state)
        drawn = _draw_words(policy_logits(logits, options), tf.gather(uniforms, draft.time, axis=1))
        last = tf.where(_goes_on(draft.last, options), drawn, PAD)
        tokens = _write(draft.tokens, rows, draft.time, last)
        return [_Draft(draft.time + 1, last, state, tokens)]

    remaining = options.max_length - draft.time
    (draft,) = tf.while_loop(many_go_on, advance, [draft], maximum_iterations=remaining)
    return draft


def _draw_words(logits: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
    """Draws a token of each row by inverting the cumulative distribution.

    Worked example: weights [.5, 0, .3, .2] make the ladder [.5, .5, .8, 1.]. The number .6 is not
    below two of its rungs, so it falls on token 2.

    Args:
        logits: float32 [n, V].
        uniforms: float32 [n] in [0, 1).

    Returns:
        int32 [n].
    """
    ladder = tf.cumsum(tf.exp(logits - tf.reduce_max(logits, axis=1, keepdims=True)), axis=1)
    height = uniforms[:, tf.newaxis] * ladder[:, -1:]
    return tf.math.count_nonzero(ladder <= height, axis=1, dtype=tf.int32)


def _goes_on(last: tf.Tensor, options: DecodeConfig) -> tf.Tensor:
    """Whether captions have not ended with their last token: bool [n]."""
    return (last != options.end_token) & (last != PAD)


def _write(tokens: tf.Tensor, rows: tf.Tensor, time: tf.Tensor, words: tf.Tensor) -> tf.Tensor:
    """Writes a token of some captions: int32 [N, T], with `words` [n] in `rows` [n] at `time`."""
    places = tf.stack([rows, tf.fill(tf.shape(rows), time)], axis=1)
    return tf.tensor_scatter_nd_update(tokens, places, words)
