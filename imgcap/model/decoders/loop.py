"""The loop that carries a decoder along a caption, and its gradient.

TensorFlow's own gradient of such a loop is slow on a CPU. At every word it multiplies out the
gradients of all weight matrices and adds them up. It multiplies by matrices that are yet to be
transposed, which takes 2.4 times as long with 64 rows. It keeps all that the forward pass made, of
attention [B, L, A] at every word. Here the backward pass is a loop of its own: it computes a step
again from the state before it, except for its matrix products, which were kept, and it leaves the
gradient of a matrix to one product over all words.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

State = tuple[tf.Tensor, ...]
"""Tensors that change along a caption, B rows each; of an LSTM (hidden, cell), float32 [B, D]."""

Tensors = Mapping[str, tf.Tensor]
"""Tensors by name."""

Multiply = Callable[[str, tf.Tensor], tf.Tensor]
"""(name of a matrix, rows [B, I]) -> the rows times the matrix, [B, O]."""

Advance = Callable[[tf.Tensor, State, Multiply, Tensors], tuple[tuple[tf.Tensor, ...], State]]
"""(inputs [B, *] of one step, state, `multiply` and `tensors` of `Constants`) -> (outputs of the
step, next state). It multiplies by each matrix once."""


class Constants(NamedTuple):
    """What all steps of a caption share.

    Attributes:
        matrices: what a step multiplies by: float [I, O], or one matrix a row, [B, I, O].
        tensors: what else a step reads, float.
    """

    matrices: Tensors
    tensors: Tensors

    def multiply(self, name: str, rows: tf.Tensor) -> tf.Tensor:
        """Multiplies rows by a matrix.

        Args:
            name: of the matrix.
            rows: float [B, I].

        Returns:
            [B, O], in the matrix's dtype.
        """
        matrix = self.matrices[name]
        rows = tf.cast(rows, matrix.dtype)
        if len(matrix.shape) == 2:
            return tf.matmul(rows, matrix)
        return tf.matmul(rows[:, tf.newaxis], matrix)[:, 0]


class _Walk(NamedTuple):
    """The steps of a caption: arrays of one element a word.

    Attributes:
        outputs: of the steps.
        states: before the steps; empty if there will be no backward pass.
        products: of each matrix, by its name; empty if there will be no backward pass.
    """

    outputs: tuple[tf.TensorArray, ...]
    states: tuple[tf.TensorArray, ...]
    products: Mapping[str, tf.TensorArray]


def unroll(
    advance: Advance,
    inputs: tf.Tensor,
    state: State,
    constants: Constants,
    widths: Sequence[int],
) -> tuple[tf.Tensor, ...]:
    """Runs a step along a caption and collects its outputs.

    Args:
        advance: the step.
        inputs: [B, T, *].
        state: before the first step.
        constants: of all steps.
        widths: of the outputs, one number each.

    Returns:
        The outputs of all steps, float32 [B, T, width] each.
    """
    walk = _walk(advance, _swap(inputs), state, constants, widths, keep=False)
    return tuple(_swap(output.stack()) for output in walk.outputs)


def unroll_with_gradient(
    advance: Advance,
    inputs: tf.Tensor,
    state: State,
    constants: Constants,
    widths: Sequence[int],
) -> tuple[tf.Tensor, ...]:
    """Does what `unroll` does, by a loop that has a gradient.

    It is the gradient by all arguments that are tensors, and by nothing else that `advance` reads.

    Args:
        advance: as of `unroll`.
        inputs: as of `unroll`.
        state: as of `unroll`.
        constants: as of `unroll`.
        widths: as of `unroll`.

    Returns:
        As `unroll`.
    """
    given = (_swap(inputs), state, constants)

    @tf.custom_gradient
    def run(*flat: tf.Tensor) -> tuple:
        inputs, state, constants = tf.nest.pack_sequence_as(given, flat)
        walk = _walk(advance, inputs, state, constants, widths, keep=True)

        def gradient(*d_outputs: tf.Tensor) -> list[tf.Tensor]:
            return tf.nest.flatten(_walk_back(advance, inputs, constants, walk, d_outputs))

        return tuple(output.stack() for output in walk.outputs), gradient

    return tuple(_swap(output) for output in run(*tf.nest.flatten(given)))


def _walk(
    advance: Advance,
    inputs: tf.Tensor,
    state: State,
    constants: Constants,
    widths: Sequence[int],
    keep: bool,
) -> _Walk:
    """Runs a step along a caption, inputs [T, B, *], and keeps for `_walk_back` if asked."""
    length, words = tf.shape(inputs)[0], _array(inputs)
    kept_state, kept_matrices = (state, constants.matrices) if keep else ((), {})

    def body(time: tf.Tensor, state: State, walk: _Walk) -> tuple[tf.Tensor, State, _Walk]:
        products = dict(walk.products)

        def multiply(name: str, rows: tf.Tensor) -> tf.Tensor:
            product = constants.multiply(name, rows)
            if keep:
                products[name] = products[name].write(time, product)
            return product

        outputs, following = advance(words.read(time), state, multiply, constants.tensors)
        states = _write(walk.states, time, state if keep else ())
        return time + 1, following, _Walk(_write(walk.outputs, time, outputs), states, products)

    start = _Walk(
        tuple(_empty(length, width, tf.float32) for width in widths),
        tuple(_empty(length, part.shape[-1], part.dtype) for part in kept_state),
        {
            name: _empty(length, matrix.shape[-1], matrix.dtype)
            for name, matrix in kept_matrices.items()
        },
    )
    return tf.while_loop(
        lambda time, *_: time < length,
        body,
        (tf.constant(0), state, start),
        maximum_iterations=length,
    )[2]


def _walk_back(
    advance: Advance,
    inputs: tf.Tensor,
    constants: Constants,
    walk: _Walk,
    d_outputs: tuple[tf.Tensor, ...],
) -> tuple[tf.Tensor, State, Constants]:
    """Computes the gradients by inputs [T, B, *], by the first state and by the constants."""
    length, words, d_output_arrays = tf.shape(inputs)[0], _array(inputs), _arrays(d_outputs)
    # Transposed once: at every word it would take longer than the product.
    transposed = {
        name: tf.transpose(matrix)
        for name, matrix in constants.matrices.items()
        if len(matrix.shape) == 2
    }

    def body(
        time: tf.Tensor, d_state: State, d_tensors: Tensors, d_words: tf.TensorArray, pairs: dict
    ) -> tuple:
        found = dict(pairs)

        def multiply(name: str, rows: tf.Tensor) -> tf.Tensor:
            @tf.custom_gradient
            def product(rows: tf.Tensor) -> tuple:
                def gradient(d_product: tf.Tensor) -> tf.Tensor:
                    found[name] = _write(found[name], time, (rows, d_product))
                    if name in transposed:
                        return tf.matmul(d_product, transposed[name])
                    return tf.linalg.matvec(constants.matrices[name], d_product)

                return walk.products[name].read(time), gradient

            return product(tf.cast(rows, constants.matrices[name].dtype))

        given = (words.read(time), _read(walk.states, time), constants.tensors)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(given)
            word, state, tensors = given
            made = tf.nest.flatten(advance(word, state, multiply, tensors))
        d_made = [*_read(d_output_arrays, time), *d_state]
        d_given = tape.gradient(made, tf.nest.flatten(given), d_made, tf.UnconnectedGradients.ZERO)
        d_word, d_state, d_read = tf.nest.pack_sequence_as(given, d_given)
        d_tensors = tf.nest.map_structure(tf.add, d_tensors, d_read)
        return time - 1, d_state, d_tensors, d_words.write(time, d_word), found

    nothing_yet = _no_gradients(inputs, constants, walk)
    _, d_state, d_tensors, d_words, pairs = tf.while_loop(
        lambda time, *_: time >= 0,
        body,
        (length - 1, *nothing_yet),
        maximum_iterations=length,
    )
    d_matrices = {
        name: _matrix_gradient(rows.stack(), d_products.stack(), constants.matrices[name])
        for name, (rows, d_products) in pairs.items()
    }
    return d_words.stack(), d_state, Constants(d_matrices, d_tensors)


def _no_gradients(inputs: tf.Tensor, constants: Constants, walk: _Walk) -> tuple:
    """What the loop of `_walk_back` starts with: zeros, and arrays that it will fill."""
    length = tf.shape(inputs)[0]
    return (
        tf.nest.map_structure(tf.zeros_like, _read(walk.states, 0)),
        tf.nest.map_structure(tf.zeros_like, constants.tensors),
        _empty(length, inputs.shape[-1], inputs.dtype),
        {
            name: tuple(_empty(length, width, matrix.dtype) for width in matrix.shape[-2:])
            for name, matrix in constants.matrices.items()
        },
    )


def _matrix_gradient(rows: tf.Tensor, d_products: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
    """Sums the outer products of all words: [T, B, I] and [T, B, O] -> the shape of the matrix."""
    if len(matrix.shape) == 2:
        rows, d_products = (tf.reshape(part, [-1, part.shape[-1]]) for part in (rows, d_products))
    else:
        rows, d_products = _swap(rows), _swap(d_products)
    return tf.matmul(rows, d_products, transpose_a=True)


def _swap(values: tf.Tensor) -> tf.Tensor:
    """Swaps rows and words: [B, T, *] -> [T, B, *], or back."""
    return tf.transpose(values, [1, 0, 2])


def _empty(length: tf.Tensor, width: int, dtype: tf.DType) -> tf.TensorArray:
    return tf.TensorArray(dtype, length, element_shape=[None, width], clear_after_read=False)


def _array(values: tf.Tensor) -> tf.TensorArray:
    return tf.TensorArray(values.dtype, tf.shape(values)[0]).unstack(values)


def _arrays(values: Sequence[tf.Tensor]) -> tuple[tf.TensorArray, ...]:
    return tuple(map(_array, values))


def _read(arrays: Sequence[tf.TensorArray], time: tf.Tensor | int) -> tuple[tf.Tensor, ...]:
    return tuple(array.read(time) for array in arrays)


def _write(
    arrays: Sequence[tf.TensorArray], time: tf.Tensor, values: Sequence[tf.Tensor]
) -> tuple[tf.TensorArray, ...]:
    return tuple(array.write(time, value) for array, value in zip(arrays, values, strict=True))
