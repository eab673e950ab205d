"""Self-critical sequence training (Rennie et al. 2017): raises CIDEr itself, by sampling."""

import dataclasses

import tensorflow as tf

from imgcap.config import DecodeConfig, TrainConfig
from imgcap.data.text.vocabulary import PAD, START
from imgcap.model import search
from imgcap.model.captioner import Captioner
from imgcap.model.decoders import Start
from imgcap.model.rows import count_rows, gather_rows
from imgcap.model.search.cider_reward import CiderReward
from imgcap.training.objective.drawing import draw_captions, policy_logits
from imgcap.training.objective.losses import TokenLoss

# Groups of captions of about one length whose gradient is taken together: the mean length of 160 is
# 11 and the greatest 20. More groups have fewer places of padding, and longer loops in all.
GROUPS = 3


def self_critical_loss(
    captioner: Captioner,
    config: TrainConfig,
    options: DecodeConfig,
    reward: CiderReward,
    features: tf.Tensor,
    tokens: tf.Tensor,
    seed: tf.Tensor,
) -> TokenLoss:
    """Computes -Σ (reward - baseline) · log p(word), whose gradient is that of the mean reward.

    The policy is the softmax of logits / temperature, without dropout on words: captions are drawn
    from the very distribution whose gradient is taken. Dropout on the image is noise in what the
    policy is given, so it stays: captions are drawn, compared and made more likely under one mask.

    Args:
        captioner: draws the captions.
        config: number of samples and baseline.
        options: the search; tokens that it suppresses are not drawn, and it bounds the length.
        reward: CIDEr-D.
        features: float [B, L, C].
        tokens: int32 [B, N, T], the references, start token first.
        seed: int32 [2], of the image's dropout and the samples.

    Returns:
        The sum over words; the number of the references' words, by which cross-entropy is divided
        too; the samples' reward.
    """
    start = captioner.decoder.begin(tf.cast(features, tf.float32), seed)
    references = tokens[:, :, 1:]
    sampled = _sample(captioner, config, options, start, seed)  # -> [B, S, T]
    rewards = reward(sampled, references)  # -> [B, S]
    if config.scst_baseline == "mean":
        # The mean of the other samples: no search of its own, and less variance (Luo 2020).
        others = tf.reduce_sum(rewards, axis=1, keepdims=True) - rewards
        baseline = others / (config.scst_samples - 1.0)
    else:
        baseline = reward(_search_greedily(captioner, options, start), references)  # -> [B, 1]
    # Rows that only fill up a batch have no references, and nothing is learnt from them.
    real = tf.cast(tf.reduce_any(references != PAD, axis=[1, 2]), tf.float32)[:, tf.newaxis]
    advantage = tf.stop_gradient((rewards - baseline) * real)
    log_probs = policy_log_probs(captioner, config, options, start, sampled)  # -> [B, S]
    captions = tf.math.count_nonzero(tokens[:, :, 0], axis=1, dtype=tf.float32)  # -> [B]
    return TokenLoss(
        -tf.reduce_sum(advantage * log_probs),
        tf.math.count_nonzero(references, dtype=tf.float32),
        tf.reduce_sum(tf.reduce_mean(rewards, axis=1) * captions),
    )


def policy_log_probs(
    captioner: Captioner,
    config: TrainConfig,
    options: DecodeConfig,
    start: Start,
    sampled: tf.Tensor,
) -> tf.Tensor:
    """Computes the log probability with which captions were drawn, with a gradient.

    Captions of about one length are read together, so that few places are padding.

    Args:
        captioner: that drew them.
        config: the temperature they were drawn at.
        options: tokens that were never drawn; an end after `max_length` words was forced and costs
            nothing.
        start: the decoder's start on B images.
        sampled: int32 [B, S, T].

    Returns:
        float32 [B, S], natural logarithm.
    """
    samples = tf.shape(sampled)[1]
    captions = tf.shape(sampled)[0] * samples
    # Without the place of the forced end.
    words = tf.reshape(sampled[:, :, : options.max_length], [captions, options.max_length])
    order = tf.argsort(tf.math.count_nonzero(words, axis=1, dtype=tf.int32))
    found = []
    for number in range(GROUPS):
        group = order[captions * number // GROUPS : captions * (number + 1) // GROUPS]
        begun = gather_rows(start, group // samples)
        found.append(_log_probs(captioner, config, options, begun, tf.gather(words, group)))
    log_probs = tf.gather(tf.concat(found, axis=0), tf.math.invert_permutation(order))
    return tf.reshape(log_probs, [-1, samples])


def _log_probs(
    captioner: Captioner,
    config: TrainConfig,
    options: DecodeConfig,
    start: Start,
    words: tf.Tensor,
) -> tf.Tensor:
    """Log probabilities of captions, int32 [B, T], in as many steps as the longest needs: [B]."""
    longest = tf.reduce_max(tf.math.count_nonzero(words, axis=1, dtype=tf.int32))
    words = words[:, : tf.maximum(longest, 1)]  # A group may be empty, a loop's result may not.
    read = tf.concat([tf.fill([tf.shape(words)[0], 1], START), words[:, :-1]], axis=1)
    logits = captioner.decoder.teacher_forcing(read, start).logits  # -> [B, T, V]
    costs = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=words, logits=policy_logits(logits, _drawing(config, options))
    )
    return -tf.reduce_sum(tf.where(words != PAD, costs, 0.0), axis=1)


def _drawing(config: TrainConfig, options: DecodeConfig) -> DecodeConfig:
    """Settings by which captions are drawn."""
    return DecodeConfig(
        max_length=options.max_length,
        num_samples=config.scst_samples,
        suppress=options.suppress,
        temperature=config.scst_temperature,
    )


def _sample(
    captioner: Captioner, config: TrainConfig, options: DecodeConfig, start: Start, seed: tf.Tensor
) -> tf.Tensor:
    """Draws captions from the model, without a gradient: int32 [B, S, T]."""
    images = count_rows(start.state)
    seeds = tf.random.stateless_uniform([images], seed, 0, 2**31 - 1, tf.int32, alg="philox")
    return draw_captions(captioner, start, _drawing(config, options), seeds)


def _search_greedily(captioner: Captioner, options: DecodeConfig, start: Start) -> tf.Tensor:
    """Searches the greedy captions, the baseline of the paper: int32 [B, 1, T]."""
    step = captioner.bind_step(start, 1)
    return search.greedy(step, start.state, dataclasses.replace(options, beam_width=1)).tokens
