"""Minimum-Bayes-risk decoding: of the captions of a beam search, the one most like the others that
the model might say (Kumar & Byrne 2004).
"""

import numpy as np
import tensorflow as tf

from imgcap.config import DecodeConfig
from imgcap.model.search.beam import beam
from imgcap.model.search.captions import Bind, Captions, State
from imgcap.model.search.cider_reward import CiderReward
from imgcap.model.search.sampling import sample


def least_risk(
    bind: Bind,
    state: State,
    options: DecodeConfig,
    reward: CiderReward,
    seeds: tf.Tensor | None = None,
) -> Captions:
    """Searches K = beam_width captions of an image, and sorts them by expected CIDEr-D.

    The most probable caption is often a general one, since each detail costs probability. What is
    expected of a caption instead is the CIDEr-D that it would have if the true captions were drawn
    from the model: its mean over `num_samples` captions that are drawn at `temperature`. They are
    drawn evenly: so 20 chose as well as 60 drawn independently (500 images of Flickr8k).

    Args:
        bind: makes the step for so many captions an image.
        state: the state before the first step, B rows.
        options: the search; its settings of beams and of sampling are both used.
        reward: CIDEr-D.
        seeds: int32 or int64 [B], of the draws; None takes `options.sampling_seed` for every image,
            so that an image's captions depend on its state alone.

    Returns:
        The captions and scores of `beam`, but sorted by expected CIDEr-D; equal ones by score.
    """
    found = beam(bind(options.beam_width), state, options)
    drawn = sample(bind(options.num_samples), state, options, seeds, evenly=True)
    return sort_by_reward(found, drawn.tokens, reward)


def sort_by_reward(found: Captions, references: tf.Tensor, reward: CiderReward) -> Captions:
    """Sorts the captions of each image by their mean CIDEr-D to other captions.

    Args:
        found: K captions an image, sorted by score.
        references: int32 [B, S, T]; rows of padding, which no search found, do not count.
        reward: CIDEr-D.

    Returns:
        The same captions, of equal CIDEr-D the one of better score first; those that were not found
        are last.
    """
    gains = tf.where(found.scores > -np.inf, reward(found.tokens, references), -np.inf)  # -> [B, K]
    order = tf.math.top_k(gains, gains.shape[1]).indices  # of equal gains the first
    return Captions(*(tf.gather(field, order, batch_dims=1) for field in found))
