"""The optimizer: AdamW on gradients that are already summed over the replicas, schedules of its
learning rate, and a moving average of the weights.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import keras
import tensorflow as tf

from imgcap.config import TrainConfig
from imgcap.run.checkpoints import tf_variables


class ReplicatedAdam(keras.optimizers.AdamW):
    """AdamW (Loshchilov & Hutter 2019) on gradients that are already the same on every replica.

    Keras adds up the replicas' gradients inside `apply`, after the clipping and after the test for
    overflow, so each replica would clip its own part and the result would depend on how many there
    are. Here the train step adds first, and the hook that would add again passes the gradients on.
    """

    def __init__(self, encoder_rate: float, decoder_variables: int, **values: object) -> None:
        """Makes the optimizer.

        Args:
            encoder_rate: factor on the learning rate of the encoder's variables.
            decoder_variables: how many of the variables it is built on are the decoder's; they come
                first.
            **values: arguments of `keras.optimizers.AdamW`.
        """
        super().__init__(**values)
        self._encoder_rate, self._decoder_variables = encoder_rate, decoder_variables

    def _all_reduce_sum_gradients(self, grads_and_vars: Sequence[tuple]) -> Sequence[tuple]:
        return grads_and_vars

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Changes one variable; called by Keras."""
        if self._get_variable_index(variable) >= self._decoder_variables:
            learning_rate = learning_rate * self._encoder_rate
        super().update_step(gradient, variable, learning_rate)

    def _update_model_variables_moving_average(
        self, trainable_variables: Sequence[keras.Variable]
    ) -> None:
        """Keeps the moving average with a momentum that grows as the run does; called by Keras.

        The first step's weights are taken as they are, step t (counted from 0) has momentum
        min(m, (1 + t) / (10 + t)), the rule of `tf.train.ExponentialMovingAverage`: the start is
        gone after tens of steps, where a constant 0.999 would still hold a tenth of it after 2,300.
        """
        if not self.use_ema:
            return
        step = tf.cast(self.iterations, tf.float32)
        momentum = tf.minimum(self.ema_momentum, (1.0 + step) / (10.0 + step))
        momentum = tf.where(step > 0, momentum, 0.0)
        for variable, average in zip(
            tf_variables(trainable_variables), moving_averages(self), strict=True
        ):
            average.assign(momentum * average + (1.0 - momentum) * variable)


def make_schedule(
    config: TrainConfig, total_steps: int
) -> keras.optimizers.schedules.LearningRateSchedule | float:
    """Builds the schedule of the learning rate.

    Args:
        config: peak, shape and warm-up.
        total_steps: of the whole run: 'cosine' reaches zero there, 'step' drops at parts of it.

    Returns:
        A Keras schedule, or a number if the rate never changes.
    """
    schedules = keras.optimizers.schedules
    warmup, peak = config.warmup_steps, config.learning_rate
    if config.schedule == "cosine":
        # Without warm-up Keras takes no target, and the decay starts at the peak.
        return schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup else peak,
            decay_steps=max(1, total_steps - warmup),
            warmup_target=peak if warmup else None,
            warmup_steps=warmup,
        )
    rates = [peak, peak / 10, peak / 100] if config.schedule == "step" else [peak]
    # Two drops, at a half and three quarters of the run; the warm-up stands before them as further
    # steps.
    drops = [total_steps // 2, total_steps * 3 // 4][: len(rates) - 1]
    ramp = [peak * (step + 1) / (warmup + 1) for step in range(warmup)]
    if not ramp and not drops:
        return peak
    return schedules.PiecewiseConstantDecay([*range(warmup), *drops], [*ramp, *rates])


def make_optimizer(
    config: TrainConfig,
    decoder: list[keras.Variable],
    encoder: list[keras.Variable],
    total_steps: int,
) -> keras.optimizers.Optimizer:
    """Builds AdamW with clipping and schedule, and with loss scaling if the precision is float16.

    Args:
        config: learning rates, schedule, weight decay, clipping, precision.
        decoder: variables of the decoder.
        encoder: variables of the encoder that train; empty if it is frozen.
        total_steps: of the whole run.

    Returns:
        The optimizer, built on [*decoder, *encoder]; `scale_loss` and `apply` work under any
        strategy.
    """
    optimizer = ReplicatedAdam(
        encoder_rate=(config.encoder_learning_rate or config.learning_rate)
        / max(config.learning_rate, 1e-30),
        decoder_variables=len(decoder),
        learning_rate=make_schedule(config, total_steps),
        weight_decay=config.weight_decay,
        global_clipnorm=config.clip_norm or None,
        use_ema=bool(config.ema_momentum),
        ema_momentum=config.ema_momentum or 0.99,
    )
    # Decay pulls weights towards zero, which is right neither for biases nor for an encoder that is
    # only tuned.
    optimizer.exclude_from_weight_decay(
        [*(variable for variable in decoder if len(variable.shape) < 2), *encoder]
    )
    if config.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build([*decoder, *encoder])
    return optimizer


def moving_averages(optimizer: keras.optimizers.Optimizer) -> list[tf.Variable]:
    """The moving average of each variable the optimizer was built on, in that order.

    Args:
        optimizer: from `make_optimizer`.

    Returns:
        One variable for each; none if no average is kept.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return tf_variables(inner._model_variables_moving_average) if inner.use_ema else []


@contextmanager
def averaged_weights(
    optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]
) -> Iterator[None]:
    """Puts the moving averages in the weights' place while the context lasts, if any are kept.

    Args:
        optimizer: from `make_optimizer`.
        variables: those it was built on.
    """
    averages = moving_averages(optimizer)
    kept = [variable.numpy() for variable in variables] if averages else []
    try:
        for variable, average in zip(variables, averages, strict=False):
            variable.assign(average.numpy())
        yield
    finally:
        for variable, value in zip(variables, kept, strict=False):
            variable.assign(value)
