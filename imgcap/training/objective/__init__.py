"""The objectives of training: functions of a batch whose value the train step lowers."""

from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from imgcap.config import DecodeConfig, TrainConfig
from imgcap.model.captioner import Captioner
from imgcap.model.search.cider_reward import CiderReward
from imgcap.training.objective.distillation import Teacher
from imgcap.training.objective.losses import TokenLoss
from imgcap.training.objective.self_critical import self_critical_loss
from imgcap.training.objective.teacher_forcing import caption_loss

__all__ = ["Objective", "TokenLoss", "make_objective"]

Objective = Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], TokenLoss]
"""Takes features float [B, L, C], tokens int32 [B, N, T], seed int32 [2] and step int32 []."""


def make_objective(
    train: TrainConfig,
    decode: DecodeConfig,
    captioner: Captioner,
    references: Iterable[np.ndarray],
    total_steps: int,
    teacher: Teacher | None = None,
) -> Objective:
    """Builds the objective of a run.

    Args:
        train: names the objective and has its settings.
        decode: the search, which the self-critical objective alone needs.
        captioner: that is trained.
        references: numbered captions of the training images, int [N, T] each, read for the
            self-critical objective alone, and only if the captioner has no reward yet.
        total_steps: of the whole run; scheduled sampling rises towards it.
        teacher: of distillation; None for the other objectives.

    Returns:
        A function for the train step.
    """
    if train.objective == "scst":
        reward = captioner.reward or CiderReward.build(references, len(captioner.vocabulary))

        def self_critical(
            features: tf.Tensor, tokens: tf.Tensor, seed: tf.Tensor, step: tf.Tensor
        ) -> TokenLoss:
            del step
            return self_critical_loss(captioner, train, decode, reward, features, tokens, seed)

        return self_critical

    def teacher_forced(
        features: tf.Tensor, tokens: tf.Tensor, seed: tf.Tensor, step: tf.Tensor
    ) -> TokenLoss:
        progress = tf.cast(step, tf.float32) / total_steps
        return caption_loss(captioner, train, features, tokens, seed, progress, teacher)

    return teacher_forced
