"""The search that a set of decode options names."""

import tensorflow as tf

from imgcap.config import DecodeConfig
from imgcap.model.search.beam import beam
from imgcap.model.search.captions import Captions, State, Step
from imgcap.model.search.diverse import diverse
from imgcap.model.search.sampling import sample
from imgcap.model.search.walk import greedy


def find_captions(
    step: Step, state: State, options: DecodeConfig, seeds: tf.Tensor | None = None
) -> Captions:
    """Searches captions as `options.search` says; a beam of width 1 is greedy search.

    Args:
        step: works on N = B * K rows; those of an image stand together.
        state: the state before the first step, B rows.
        options: the search.
        seeds: int32 [B], of the draws if the search samples; None takes the options' seed.

    Returns:
        Captions with K = options.num_captions, best first.
    """
    if options.search == "sample":
        return sample(step, state, options, seeds)
    if options.search == "diverse":
        return diverse(step, state, options)
    find = greedy if options.beam_width == 1 else beam
    return find(step, state, options)
