"""Runs a request of many rows in slices, between which the requests of others have their turns."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

Tensors = dict[str, np.ndarray]
"""Arrays by their aliases; dimension 0 of each counts the rows."""

SLICE_ROWS = 8
"""Rows of a slice, the largest batch that exports are warmed for; a request with more is large."""


class Runnable(Protocol):
    """A version of a model, as far as the queue needs it."""

    def run(self, signature_name: str, inputs: Tensors) -> Tensors:
        """Runs a signature on its inputs."""


def count_rows(inputs: Tensors) -> int:
    """The number of rows that all inputs have; 1 if they have no rows or not as many."""
    sizes = {len(array) if array.ndim else 1 for array in inputs.values()}
    return sizes.pop() if len(sizes) == 1 else 1


def has_fixed_rows(signature: SignatureDef) -> bool:
    """Whether any number of rows goes in and as many come out, each of a fixed shape.

    Answers of two slices can then be joined.
    """
    inputs = [info.tensor_shape for info in signature.inputs.values()]
    outputs = [info.tensor_shape for info in signature.outputs.values()]
    return (
        bool(inputs)
        and all(
            not shape.unknown_rank and shape.dim and shape.dim[0].size == -1
            for shape in inputs + outputs
        )
        and all(dim.size >= 0 for shape in outputs for dim in shape.dim[1:])
    )


def run_in_slices(
    model: Runnable,
    signature_name: str,
    inputs: Tensors,
    turn: Callable[[], AbstractContextManager[None]],
) -> Tensors:
    """Runs a signature whose rows do not depend on each other.

    Args:
        model: the version that the request names.
        signature_name: name of the signature to run.
        inputs: the request's rows, at least one.
        turn: waits for a turn, once for each slice, and raises if the caller waits no more.

    Returns:
        The outputs, as if all rows had run together.
    """
    parts = []
    for start in range(0, count_rows(inputs), SLICE_ROWS):
        rows = {alias: array[start : start + SLICE_ROWS] for alias, array in inputs.items()}
        with turn():
            parts.append(model.run(signature_name, rows))
    return {alias: np.concatenate([part[alias] for part in parts]) for alias in parts[0]}
