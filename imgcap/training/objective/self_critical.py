"""Self-critical sequence training (Rennie et al. 2017): raises CIDEr itself, by sampling."""

import dataclasses

import tensorflow as tf

from imgcap.config import DecodeConfig, TrainConfig
from imgcap.data.text.vocabulary import PAD, START
from imgcap.model import search
from imgcap.model.captioner import Captioner
from imgcap.model.decoders import Start
from imgcap.model.rows import repeat_rows
from imgcap.model.search.cider_reward import CiderReward
from imgcap.training.objective.losses import TokenLoss


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
    start = repeat_rows(start, samples)
    words = tf.reshape(sampled, [-1, sampled.shape[2]])
    read = tf.concat([tf.fill([tf.shape(words)[0], 1], START), words[:, :-1]], axis=1)
    logits = captioner.decoder.teacher_forcing(read, start).logits  # -> [B S, T, V]
    suppressed = tf.reduce_sum(tf.one_hot(options.suppress, logits.shape[-1]), axis=0)
    log_probs = tf.nn.log_softmax(logits / config.scst_temperature - 1e9 * suppressed)
    chosen = tf.gather(log_probs, words, batch_dims=2)  # -> [B S, T]
    free = (words != PAD) & (tf.range(options.num_tokens) < options.max_length)
    return tf.reshape(tf.reduce_sum(tf.where(free, chosen, 0.0), axis=1), [-1, samples])


def _sample(
    captioner: Captioner, config: TrainConfig, options: DecodeConfig, start: Start, seed: tf.Tensor
) -> tf.Tensor:
    """Draws captions from the model, without a gradient: int32 [B, S, T]."""
    drawing = DecodeConfig(
        max_length=options.max_length,
        num_samples=config.scst_samples,
        suppress=options.suppress,
        temperature=config.scst_temperature,
    )
    images = tf.shape(start.state[0])[0]
    seeds = tf.random.stateless_uniform([images], seed, 0, 2**31 - 1, tf.int32, alg="philox")
    step = captioner.bind_step(start, config.scst_samples)
    return tf.stop_gradient(search.sample(step, start.state, drawing, seeds).tokens)


def _search_greedily(captioner: Captioner, options: DecodeConfig, start: Start) -> tf.Tensor:
    """Searches the greedy captions, the baseline of the paper: int32 [B, 1, T]."""
    step = captioner.bind_step(start, 1)
    return search.greedy(step, start.state, dataclasses.replace(options, beam_width=1)).tokens
