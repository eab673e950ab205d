"""Slices of a batch: which rows come together, and that nothing is lost or changes places."""

import pytest
import tensorflow as tf

from imgcap.model.slices import Slices, in_slices


@pytest.mark.parametrize(
    ("slices", "rows", "widths"),
    [
        (Slices(wide=4, narrow=1, group=2, at_once=16), 19, [4, 4, 4, 4, 1, 1, 1]),
        (Slices(wide=4, narrow=1, group=2, at_once=16), 7, [1] * 7),
        (Slices(wide=16, narrow=16), 20, [16, 4]),
        (Slices(wide=16, narrow=16), 16, [16]),
        (Slices(wide=16, narrow=16), 5, [5]),
        (Slices(wide=4, narrow=3), 9, [4, 4, 1]),
        (Slices(wide=4, narrow=1, group=2, at_once=16), 0, []),
        (Slices(wide=16, narrow=16), 0, []),
    ],
)
def test_which_rows_come_together(slices: Slices, rows: int, widths: list[int]) -> None:
    def compute(numbers: tf.Tensor, names: tf.Tensor) -> dict[str, tf.Tensor]:
        width = tf.shape(numbers)[0]
        return {
            "width": tf.fill([width], width),
            "square": tf.stack([numbers, numbers**2], axis=1),
            "name": tf.strings.join([names, "!"]),
        }

    specs = {
        "width": tf.TensorSpec([None], tf.int32),
        "square": tf.TensorSpec([None, 2], tf.int32),
        "name": tf.TensorSpec([None], tf.string),
    }
    kinds = [tf.TensorSpec([None], tf.int32), tf.TensorSpec([None], tf.string)]
    run = tf.function(
        lambda *given: in_slices(compute, given, specs, slices), input_signature=kinds
    )
    numbers = tf.range(rows)
    found = run(numbers, tf.strings.as_string(numbers))
    assert found["width"].numpy().tolist() == [width for width in widths for _ in range(width)]
    assert found["square"].numpy().tolist() == [[row, row**2] for row in range(rows)]
    assert found["name"].numpy().tolist() == [f"{row}!".encode() for row in range(rows)]
