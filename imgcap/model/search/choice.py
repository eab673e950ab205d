"""The search that a set of decode options names."""

import tensorflow as tf

from imgcap.config import DecodeConfig
from imgcap.errors import RunError
from imgcap.model.search.beam import beam
from imgcap.model.search.captions import Bind, Captions, State
from imgcap.model.search.cider_reward import CiderReward
from imgcap.model.search.diverse import diverse
from imgcap.model.search.mbr import least_risk
from imgcap.model.search.sampling import sample
from imgcap.model.search.walk import greedy

NO_FREQUENCIES = (
    "--search=mbr needs the document frequencies of the training images: run imgcap-evaluate "
    "--search=mbr with the --data_dir of the run, which counts them and keeps them with the run"
)
"""What a user does for a run that has no document frequencies."""


def find_captions(
    bind: Bind,
    state: State,
    options: DecodeConfig,
    seeds: tf.Tensor | None = None,
    reward: CiderReward | None = None,
) -> Captions:
    """Searches captions as `options.search` says; a beam of width 1 is greedy search.

    Args:
        bind: makes the step for so many captions an image.
        state: the state before the first step, B rows.
        options: the search.
        seeds: int32 [B], of the draws if the search samples; None takes the options' seed.
        reward: CIDEr-D, by which 'mbr' alone chooses.

    Returns:
        Captions with K = options.num_captions, best first.

    Raises:
        RunError: the search needs the reward, and there is none.
    """
    if options.needs_reward:
        if reward is None:
            raise RunError(NO_FREQUENCIES)
        return least_risk(bind, state, options, reward, seeds)
    step = bind(options.num_captions)
    if options.search == "sample":
        return sample(step, state, options, seeds)
    if options.search == "diverse":
        return diverse(step, state, options)
    find = greedy if options.beam_width == 1 else beam
    return find(step, state, options)
