"""The LSTM of all decoders.

Keras' own layer is not used because a decoder needs three things of it at once: one cell for
teacher forcing and for the single step of search, dropout masks that are a function of a seed (so
that a resumed run draws what an undisturbed one would have drawn), and something beside the LSTM,
such as attention, inside the loop. It also keeps `CudnnRNNV3`, which no CPU can load, out of every
graph.
"""

import keras
import tensorflow as tf

from imgcap.model.decoders.loop import Multiply, State

RECURRENT_KERNEL = "recurrent"
"""Name of the recurrent kernel among the matrices of a step."""


class LSTM(keras.layers.Layer):
    """An LSTM cell (Hochreiter & Schmidhuber 1997, with forget gates).

    Its weights stand in the order kernel, bias, recurrent kernel. Matrix products run in the
    compute dtype of the precision policy; gates and state stay float32, because a cell that is
    added to at every word loses what bfloat16 can't hold.
    """

    def __init__(self, units: int) -> None:
        """Makes the two layers that hold the weights.

        Args:
            units: D, the width of hidden state and cell.
        """
        super().__init__(name="lstm")
        self.units = units
        self.inputs = keras.layers.Dense(
            4 * units, bias_initializer=self._open_forget_gate, name="inputs"
        )
        self.recurrent = keras.layers.Dense(
            4 * units, use_bias=False, kernel_initializer="orthogonal", name=RECURRENT_KERNEL
        )
        # Only its kernel is used, by the loop, so nothing else would build it.
        self.recurrent.build([None, units])

    @staticmethod
    def _open_forget_gate(shape: tuple[int], dtype: str | None = None) -> tf.Tensor:
        """Initial bias of the gates, [4 D]: 1 for the forget gate, 0 for the others."""
        # Jozefowicz et al. 2015: a forget gate that starts open lets the gradient reach the first
        # word.
        gate = shape[0] // 4
        return tf.concat([tf.zeros([gate]), tf.ones([gate]), tf.zeros([2 * gate])], axis=0)

    def zeros(self, rows: tf.Tensor) -> State:
        """Zero state of so many rows: (hidden, cell), float32 [B, D] each."""
        return tf.zeros([rows, self.units]), tf.zeros([rows, self.units])

    def project(self, inputs: tf.Tensor) -> tf.Tensor:
        """Multiplies inputs by their kernel, for all words of a caption at once.

        Args:
            inputs: float [..., *].

        Returns:
            Their part of the gates before the activations, [..., 4 D].
        """
        return self.inputs(inputs)

    def advance(
        self,
        projected: tf.Tensor,
        state: State,
        multiply: Multiply,
        mask: tf.Tensor | None = None,
    ) -> State:
        """Reads one word.

        Args:
            projected: from `project`, [B, 4 D].
            state: (hidden, cell), float32 [B, D] each.
            multiply: multiplies rows by the matrix `RECURRENT_KERNEL`.
            mask: of dropout on the recurrent connection, [B, D]; the same for all steps of a
                caption.

        Returns:
            The next state.
        """
        hidden, cell = state
        if mask is not None:
            hidden = hidden * mask
        gates = tf.cast(projected, tf.float32) + tf.cast(
            multiply(RECURRENT_KERNEL, hidden), tf.float32
        )
        i, f, g, o = tf.split(gates, 4, axis=-1)  # Input, forget, cell and output gate, [B, D] each
        cell = tf.sigmoid(f) * cell + tf.sigmoid(i) * tf.tanh(g)
        return tf.sigmoid(o) * tf.tanh(cell), cell
