"""The cross-entropy of true captions under teacher forcing, with what may be mixed into it: the
distance from a teacher, word dropout, scheduled sampling and the regulariser of attention.
"""

import tensorflow as tf

from imgcap.config import TrainConfig
from imgcap.data.text.vocabulary import PAD, START, UNK
from imgcap.model.captioner import Captioner
from imgcap.model.decoders import Start
from imgcap.model.rows import repeat_rows
from imgcap.training.objective.distillation import Teacher
from imgcap.training.objective.losses import (
    TokenLoss,
    cross_entropy,
    divergence,
    doubly_stochastic,
)

# Numbers folded into the seed, so that each draw on the words that are read has its own; the
# decoder's dropout counts from 0.
WORD_DROPOUT, WORD_SAMPLING, WORD_CHOICE = 100, 101, 102


def caption_loss(
    captioner: Captioner,
    config: TrainConfig,
    features: tf.Tensor,
    tokens: tf.Tensor,
    seed: tf.Tensor | None,
    progress: tf.Tensor | float = 0.0,
    teacher: Teacher | None = None,
) -> TokenLoss:
    """Computes what true captions cost under teacher forcing.

    Args:
        captioner: whose decoder reads and predicts.
        config: label smoothing, weight of the teacher, word dropout, scheduled sampling,
            regulariser of attention.
        features: float [B, L, C].
        tokens: int32 [B, N, T], N captions an image.
        seed: int32 [2], of all that is drawn; None draws nothing.
        progress: float32 [] in 0..1, the part of the run that is done; scheduled sampling rises
            with it.
        teacher: whose distribution of each word counts beside the true word; None if there is none.

    Returns:
        Summed cost and number of real tokens.
    """
    captions = tf.shape(tokens)[1]
    start = captioner.decoder.begin(tf.cast(features, tf.float32), seed)
    # What is made of an image once serves all its captions.
    start = repeat_rows(start, captions)  # -> [B N, …]
    tokens = tf.reshape(tokens, [-1, tf.shape(tokens)[2]])
    true, targets = tokens[:, :-1], tokens[:, 1:]
    read = true
    if seed is not None:
        read = _disturb(captioner, config, read, start, seed, progress)
    forced = captioner.decoder.teacher_forcing(read, start, seed)
    cost = cross_entropy(forced.logits, targets, config.label_smoothing)
    if teacher:
        # Undisturbed words and features: what the teacher knows is not to be made less certain.
        taught = teacher.logits(features, true, captions)
        distance = config.teacher_weight * divergence(forced.logits, taught, targets)
        cost = TokenLoss((1.0 - config.teacher_weight) * cost.total + distance, cost.tokens)
    if not config.attention_regulariser:
        return cost
    penalty = config.attention_regulariser * doubly_stochastic(forced.attention_weights, targets)
    return TokenLoss(cost.total + penalty, cost.tokens)


def _disturb(
    captioner: Captioner,
    config: TrainConfig,
    read: tf.Tensor,
    start: Start,
    seed: tf.Tensor,
    progress: tf.Tensor | float,
) -> tf.Tensor:
    """Replaces some of the words that are read, int32 [B, T], by the model's own or by <unk>."""
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
    """Draws the model's own word for each place, given the true words before it: int32 [B, T].

    A pass of its own in place of one that samples as it goes (Mihaylova & Martins 2019): both
    passes run over all rows and words at once.
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
    """Draws which words are replaced: bool [B, T]; never the start token or padding."""
    seed = tf.random.experimental.stateless_fold_in(seed, place)
    hit = tf.random.stateless_uniform(tf.shape(read), seed, alg="philox") < probability
    return hit & (read != START) & (read != PAD)
