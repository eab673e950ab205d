"""One global training step as a graph; it does not depend on how many replicas share it."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from imgcap.config import TrainConfig
from imgcap.data.batches import Batch
from imgcap.model.captioner import Captioner
from imgcap.run.checkpoints import tf_variables
from imgcap.training.objective import Objective


class Totals(NamedTuple):
    """Sums of one global step over all replicas.

    Attributes:
        loss: float32 [], nats, summed over tokens.
        tokens: float32 [], real tokens.
        captions: float32 [], real captions.
        skipped: float32 [], 1 if a gradient overflowed (float16) and the step changed nothing.
        reward: float32 [], as in `TokenLoss`, summed over captions.
    """

    loss: tf.Tensor
    tokens: tf.Tensor
    captions: tf.Tensor
    skipped: tf.Tensor
    reward: tf.Tensor | float = 0.0


class Gradients(NamedTuple):
    """Loss and gradients of one replica's rows.

    Attributes:
        loss: float32 [], nats, summed over its tokens.
        reward: float32 [], as in `TokenLoss`.
        gradients: of the scaled loss, a float tensor for each trainable variable.
    """

    loss: tf.Tensor
    reward: tf.Tensor
    gradients: list[tf.Tensor]


TrainStep = Callable[[Batch, tf.Tensor], Totals]
FindGradients = Callable[[Batch, tf.Tensor, tf.Tensor, tf.Tensor], Gradients]


def make_train_step(
    config: TrainConfig,
    strategy: tf.distribute.Strategy,
    captioner: Captioner,
    optimizer: keras.optimizers.Optimizer,
    objective: Objective,
) -> TrainStep:
    """Builds the training step.

    The loss is the sum over real tokens ÷ the number of real tokens of all replicas, and gradients
    are summed over the replicas before they are clipped.

    Args:
        config: seed, cached features, BatchNorm mode, micro-batches, recomputation, XLA.
        strategy: that shares the step.
        captioner: that is trained.
        optimizer: built on `captioner.trainable_variables`.
        objective: the function that the step lowers.

    Returns:
        A function of (batch, step int32 []) that changes the variables and returns the totals.
    """
    trainables = captioner.trainable_variables
    gradient_functions = _GradientFunctions(config, captioner, objective, trainables)

    def train_replica(batch: Batch, step: tf.Tensor) -> Totals:
        replica = tf.distribute.get_replica_context()
        # Each step and each replica has dropout of its own, drawn from the run's seed alone.
        seed = tf.stack([config.seed, step])
        seed = tf.random.experimental.stateless_fold_in(seed, replica.replica_id_in_sync_group)
        tokens = tf.math.count_nonzero(batch.tokens[:, :, 1:], dtype=tf.float32)
        scale = optimizer.scale_loss(1.0 / replica.all_reduce("sum", tokens))
        found = gradient_functions.of_this_replica()(batch, seed, scale, step)
        summed = replica.all_reduce("sum", found.gradients)
        skipped = (
            1.0 - tf.cast(_all_finite(summed), tf.float32)
            if config.precision == "mixed_float16"
            else 0.0
        )
        optimizer.apply(summed, trainables)
        captions = tf.math.count_nonzero(batch.tokens[:, :, 0], dtype=tf.float32)
        skipped = tf.convert_to_tensor(skipped) / strategy.num_replicas_in_sync
        return Totals(found.loss, tokens, captions, skipped, found.reward)

    @tf.function(reduce_retracing=True, autograph=False)
    def train_step(batch: Batch, step: tf.Tensor) -> Totals:
        totals = strategy.run(train_replica, args=(batch, step))
        return Totals(*(strategy.reduce("sum", part, axis=None) for part in totals))

    return train_step


class _GradientFunctions:
    """Forward and backward pass, one function a replica.

    XLA compiles this part alone: around the exchange between replicas it fails ("Trying to access
    resource … replica_1"), and one function for several replicas would hold the variables of the
    first.
    """

    def __init__(
        self,
        config: TrainConfig,
        captioner: Captioner,
        objective: Objective,
        trainables: list[keras.Variable],
    ) -> None:
        self._config, self._captioner, self._objective, self._trainables = (
            config,
            captioner,
            objective,
            trainables,
        )
        self._functions: dict[int, FindGradients] = {}

    def of_this_replica(self) -> FindGradients:
        """Returns the function that finds the gradients of this replica's share of a batch.

        Returns:
            It runs micro-batch after micro-batch if `accumulate_steps` is above 1.
        """
        find, count = self._compiled(), self._config.accumulate_steps
        if count == 1:
            return find
        nothing = [tf.zeros(variable.shape, variable.dtype) for variable in self._trainables]
        zeros = Gradients(tf.zeros([]), tf.zeros([]), nothing)
        return functools.partial(_accumulate, find, count, zeros)

    def _compiled(self) -> FindGradients:
        if not self._config.jit:
            return self._find
        number = int(
            tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group)
        )
        if number not in self._functions:
            self._functions[number] = tf.function(
                self._find, jit_compile=True, reduce_retracing=False, autograph=False
            )
        return self._functions[number]

    def _find(self, batch: Batch, seed: tf.Tensor, scale: tf.Tensor, step: tf.Tensor) -> Gradients:
        config, captioner = self._config, self._captioner
        with tf.GradientTape() as tape:
            inputs = batch.inputs
            if not config.cache_features:
                inputs = captioner.encoder(
                    inputs,
                    update_statistics=config.batch_norm == "update",
                    recompute=config.recompute,
                )
            cost = self._objective(inputs, batch.tokens, seed, step)
            scaled = cost.total * scale
        gradients = tape.gradient(scaled, tf_variables(self._trainables))
        # Dense: the embedding's rows are too few for sparse updates to pay, and only dense
        # gradients are clipped and added up alike on every device.
        found = [tf.convert_to_tensor(gradient) for gradient in gradients]
        return Gradients(cost.total, tf.convert_to_tensor(cost.reward), found)


def _accumulate(
    find: FindGradients,
    count: int,
    zeros: Gradients,
    batch: Batch,
    seed: tf.Tensor,
    scale: tf.Tensor,
    step: tf.Tensor,
) -> Gradients:
    """Sums loss and gradients over micro-batches, one after the other: memory for one is enough.

    The scale holds the number of tokens of the whole global batch: nothing is left to be averaged.

    Args:
        find: computes loss and gradients of a micro-batch.
        count: micro-batches that the batch is cut into.
        zeros: what the sums start from.
        batch: one replica's rows.
        seed: int32 [2], of the dropout.
        scale: float32 [], factor on the loss.
        step: int32 [], number of the step.

    Returns:
        The sums.
    """
    parts = Batch(*(_cut(values, count) for values in batch))

    def add(number: tf.Tensor, sums: Gradients) -> tuple[tf.Tensor, Gradients]:
        part = Batch(*(values[number] for values in parts))
        # Each part has dropout of its own.
        found = find(part, tf.random.experimental.stateless_fold_in(seed, number), scale, step)
        return number + 1, tf.nest.map_structure(tf.add, sums, found)

    # A loop and not `count` copies in the graph, which TensorFlow would run side by side.
    start = (tf.constant(0), zeros)
    return tf.while_loop(lambda number, sums: number < count, add, start, parallel_iterations=1)[1]


def _cut(values: tf.Tensor, count: int) -> tf.Tensor:
    """Cuts rows into parts, [B, ...] -> [count, B / count, ...].

    Rows of padding, which weigh nothing in the loss, make the parts even: of B = 5 and count = 2
    become 2 parts of 3.
    """
    missing = -tf.shape(values)[0] % count
    filled = tf.pad(values, [[0, missing], *([0, 0] for _ in values.shape[1:])])
    return tf.reshape(filled, tf.concat([[count, -1], tf.shape(values)[1:]], axis=0))


def _all_finite(gradients: list[tf.Tensor]) -> tf.Tensor:
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients])
