"""Sampling: each token is drawn from the model's distribution over the legal ones."""

import numpy as np
import tensorflow as tf

from imgcap.config import DecodeConfig
from imgcap.model.rows import count_rows
from imgcap.model.search.captions import Captions, State, Step
from imgcap.model.search.walk import Walk, write_captions

# The greatest number below 1 that `stateless_uniform` draws.
_BELOW_ONE = 1.0 - 2.0**-23


def sample(
    step: Step,
    state: State,
    options: DecodeConfig,
    seeds: tf.Tensor | None = None,
    evenly: bool = False,
) -> Captions:
    """Draws each token from the model's distribution over the legal ones.

    The distribution is softmax(log-probability / temperature) over the legal tokens, cut to its
    nucleus: the fewest most probable tokens that hold `top_p` of it, and those as probable as the
    least of them (Holtzman et al. 2020).

    Args:
        step: works on N = B * num_samples rows; those of an image stand together.
        state: the state before the first step, B rows.
        options: the search; its settings of beams are not used.
        seeds: int32 or int64 [B], one for each image; None takes `options.sampling_seed` for every
            image, so that an image's captions depend on its state alone (and two images of equal
            state get the same captions).
        evenly: whether the samples of an image share the distribution of each token evenly, as
            `draw_uniforms` says.

    Returns:
        Captions with K = num_samples, sorted by score.
    """
    if seeds is None:
        seeds = tf.fill([count_rows(state)], options.sampling_seed)
    uniforms = draw_uniforms(seeds, options, evenly)

    def choose(log_probs: tf.Tensor, walk: Walk) -> tf.Tensor:
        return _choose_by_chance(log_probs, tf.gather(uniforms, walk.time, axis=1), options)

    return write_captions(step, state, options, choose, copies=options.num_samples)


def draw_uniforms(seeds: tf.Tensor, options: DecodeConfig, evenly: bool = False) -> tf.Tensor:
    """Draws the random numbers of a search, each image's from its own seed.

    Worked example of even draws, four samples: at each place one of them has a number in
    [0, .25), one in [.25, .5), and so on, which one by chance (Latin hypercube sampling). Each
    number alone is still uniform, but a mean over the samples varies less.

    Args:
        seeds: int32 or int64 [B].
        options: how many samples and tokens.
        evenly: whether the samples of an image share [0, 1) evenly at each place.

    Returns:
        float32 [B * num_samples, T], uniform in [0, 1).
    """
    shape = [options.num_samples, options.num_tokens]

    def draw(seed: tf.Tensor) -> tf.Tensor:
        uniforms = tf.random.stateless_uniform(
            shape, tf.stack([seed, tf.zeros_like(seed)]), alg="philox"
        )
        if not evenly:
            return uniforms
        order = tf.random.stateless_uniform(
            shape, tf.stack([seed, tf.ones_like(seed)]), alg="philox"
        )
        parts = tf.argsort(tf.argsort(order, axis=0), axis=0)  # 0, 1 … S - 1 at each place
        even = (tf.cast(parts, tf.float32) + uniforms) / options.num_samples
        return tf.minimum(even, _BELOW_ONE)

    draws = tf.map_fn(draw, seeds, fn_output_signature=tf.TensorSpec(shape, tf.float32))
    return tf.reshape(draws, [-1, options.num_tokens])


def _choose_by_chance(
    log_probs: tf.Tensor, uniforms: tf.Tensor, options: DecodeConfig
) -> tf.Tensor:
    """Draws a token of each row by inverting the cumulative distribution.

    Worked example: weights [.5, 0, .3, .2] make the ladder [.5, 0, .8, 1.]; the number .6 falls on
    token 2, the first whose rung is above it.

    Args:
        log_probs: float32 [N, V], -inf if illegal.
        uniforms: float32 [N] in [0, 1).
        options: temperature and top_p.

    Returns:
        int32 [N]; any token if none is legal.
    """
    # Scaled to a maximum of 1; the bound keeps a row without a legal token from -inf - -inf.
    greatest = tf.maximum(tf.reduce_max(log_probs, axis=1, keepdims=True), tf.float32.min)
    weights = tf.exp((log_probs - greatest) / options.temperature)
    if options.top_p < 1.0:
        weights = _cut_to_nucleus(weights, options.top_p)
    # Only tokens of some weight are rungs of the ladder, so that rounding can't land on another.
    ladder = tf.where(weights > 0.0, tf.cumsum(weights, axis=1), 0.0)
    height = uniforms[:, None] * tf.reduce_max(ladder, axis=1, keepdims=True)
    return tf.math.top_k(tf.cast(ladder > height, tf.float32), 1).indices[:, 0]


def _cut_to_nucleus(weights: tf.Tensor, top_p: float) -> tf.Tensor:
    """Sets the weights outside the nucleus to 0.

    Worked example, top_p = .7: weights [.2, .5, .3] fall as [.5, .3, .2], the sums above each are
    [0, .5, .8]; those below .7 keep .5 and .3, so the least weight kept is .3: [0, .5, .3].

    Args:
        weights: float32 [N, V], at least 0.
        top_p: share of a row's sum that the nucleus holds, in (0, 1).

    Returns:
        float32 [N, V].
    """
    ordered = tf.sort(weights, axis=1, direction="DESCENDING")
    above = tf.cumsum(ordered, axis=1, exclusive=True)
    inside = above < top_p * tf.reduce_sum(ordered, axis=1, keepdims=True)
    least = tf.reduce_min(tf.where(inside, ordered, np.inf), axis=1, keepdims=True)
    return tf.where(weights >= least, weights, 0.0)
