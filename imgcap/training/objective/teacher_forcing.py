"""What training lowers: the cross-entropy of true captions under teacher forcing, with what is
mixed into it, or the self-critical loss.
"""

from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from imgcap.config import Config, TrainConfig
from imgcap.data.vocabulary import PAD, START, UNK
from imgcap.model.captioner import Captioner
from imgcap.model.decoders import Start
from imgcap.training.objective.cider_reward import CiderReward
from imgcap.training.objective.losses import TokenLoss, cross_entropy, doubly_stochastic
from imgcap.training.objective.self_critical import self_critical_loss

# The places of chance in the words that are read; the decoder's own dropout counts from 0.
WORD_DROPOUT, WORD_SAMPLING, WORD_CHOICE = 100, 101, 102

# (features float [B, L, C], tokens int32 [B, N, T], seed int32 [2], step int32 []) -> what a step
# lowers.
Objective = Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], TokenLoss]


def make_objective(
    config: Config, captioner: Captioner, references: Iterable[np.ndarray], total_steps: int
) -> Objective:
    """What a run lowers.

    Args:
        config: names the objective and its settings.
        captioner: what is trained.
        references: numbered captions of the training images, read for the reward alone.
        total_steps: of the whole run; scheduled sampling rises towards it.

    Returns:
        A function for the train step.
    """
    settings = config.train
    if settings.objective == "scst":
        reward = CiderReward.build(references, len(captioner.vocabulary))

        def self_critical(
            features: tf.Tensor, tokens: tf.Tensor, seed: tf.Tensor, step: tf.Tensor
        ) -> TokenLoss:
            del step
            return self_critical_loss(
                captioner, settings, config.decode, reward, features, tokens, seed
            )

        return self_critical

    def cross_entropy_of_captions(
        features: tf.Tensor, tokens: tf.Tensor, seed: tf.Tensor, step: tf.Tensor
    ) -> TokenLoss:
        progress = tf.cast(step, tf.float32) / total_steps
        return caption_loss(captioner, settings, features, tokens, seed, progress)

    return cross_entropy_of_captions


def caption_loss(
    captioner: Captioner,
    config: TrainConfig,
    features: tf.Tensor,
    tokens: tf.Tensor,
    seed: tf.Tensor | None,
    progress: tf.Tensor | float = 0.0,
) -> TokenLoss:
    """The cost of true captions under teacher forcing.

    Args:
        captioner: whose decoder reads and predicts.
        config: label smoothing, word dropout, scheduled sampling, regulariser of attention.
        features: float [B, L, C].
        tokens: int32 [B, N, T], N captions an image.
        seed: int32 [2], of all that is drawn; None draws nothing.
        progress: float32 [], share of the run that is behind, which scheduled sampling rises with.

    Returns:
        Summed cost and number of real tokens.
    """
    captions = tf.shape(tokens)[1]
    start = captioner.decoder.begin(tf.cast(features, tf.float32), seed)
    # What is made of an image once serves all its captions.
    start = tf.nest.map_structure(
        lambda part: tf.repeat(part, captions, axis=0), start
    )  # -> [B N, …]
    tokens = tf.reshape(tokens, [-1, tf.shape(tokens)[2]])
    read, targets = tokens[:, :-1], tokens[:, 1:]
    if seed is not None:
        read = _disturb(captioner, config, read, start, seed, progress)
    forced = captioner.decoder.teacher_forcing(read, start, seed)
    cost = cross_entropy(forced.logits, targets, config.label_smoothing)
    if not config.attention_regulariser:
        return cost
    penalty = config.attention_regulariser * doubly_stochastic(forced.attention, targets)
    return TokenLoss(cost.total + penalty, cost.tokens)


def _disturb(
    captioner: Captioner,
    config: TrainConfig,
    read: tf.Tensor,
    start: Start,
    seed: tf.Tensor,
    progress: tf.Tensor | float,
) -> tf.Tensor:
    """The words that are read, int32 [B, T], some replaced by the model's own or by <unk>."""
    if config.scheduled_sampling:
        own = _sample_words(captioner, read, start, seed)
        probability = config.scheduled_sampling * tf.cast(progress, tf.float32)
        read = tf.where(_drawn(read, seed, WORD_SAMPLING, probability), own, read)
    if config.word_dropout:
        read = tf.where(_drawn(read, seed, WORD_DROPOUT, config.word_dropout), UNK, read)
    return read


def _sample_words(
    captioner: Captioner, read: tf.Tensor, start: Start, seed: tf.Tensor
) -> tf.Tensor:
    """What the model would have said at each place, given the true words before it: int32 [B, T].

    Two passes in place of one that samples as it goes (Mihaylova & Martins 2019): both run over all
    rows and words at once.
    """
    logits = tf.stop_gradient(captioner.decoder.teacher_forcing(read, start).logits)
    chance = tf.random.stateless_uniform(
        tf.shape(logits),
        tf.random.experimental.stateless_fold_in(seed, WORD_CHOICE),
        minval=1e-20,
        alg="philox",
    )
    # The largest of logits with Gumbel noise is a draw from their softmax.
    words = tf.argmax(logits - tf.math.log(-tf.math.log(chance)), axis=-1, output_type=tf.int32)
    return tf.concat([read[:, :1], words[:, :-1]], axis=1)


def _drawn(
    read: tf.Tensor, seed: tf.Tensor, place: int, probability: tf.Tensor | float
) -> tf.Tensor:
    """Which words are hit: bool [B, T]; the start token and padding never."""
    seed = tf.random.experimental.stateless_fold_in(seed, place)
    hit = tf.random.stateless_uniform(tf.shape(read), seed, alg="philox") < probability
    return hit & (read != START) & (read != PAD)
