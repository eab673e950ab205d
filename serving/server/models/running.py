"""What runs the signatures of a SavedModel: a session for exports, functions for other models.

A session is what the real server runs. It holds a model's constants five times once it is loaded,
and twice more for each signature that is asked; functions hold them some fifteen times and three
times more, since Python keeps a graph for each of them. But tensors of more than 32 dimensions can
be given to functions alone. No signature of an export takes such, and its graph refuses every other
shape than its own, as is done here for it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo

from imgcap.host import quiet
from serving.server.models.messages import Tensor, to_array
from serving.server.request_error import invalid

Run: TypeAlias = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
"""Inputs by their names → outputs by theirs; raises TensorFlow's errors."""


def load_functions(folder: Path) -> dict[str, Run]:
    """Loads a SavedModel as functions of TensorFlow.

    Args:
        folder: of the SavedModel.

    Returns:
        What runs each signature, by name.
    """
    loaded = tf.saved_model.load(str(folder))

    def make(name: str) -> Run:
        function = loaded.signatures[name]

        def run(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
            tensors = {alias: tf.convert_to_tensor(value) for alias, value in inputs.items()}
            # A call by its public name compares shapes first, which the real server does not, and
            # ends the process over a tensor of 33 to 64 dimensions when it writes its refusal.
            outputs = function._call_with_flat_signature([], tensors)
            return {alias: to_array(tensor) for alias, tensor in outputs.items()}

        # Kept, since the functions don't own their variables.
        run.model = loaded  # type: ignore[attr-defined]  # a function takes any attribute
        return run

    return {name: make(name) for name in loaded.signatures}


def load_session(folder: Path, signature_defs: Mapping[str, SignatureDef]) -> dict[str, Run]:
    """Loads an export into a session of its own.

    Args:
        folder: of the SavedModel.
        signature_defs: its signatures by name.

    Returns:
        What runs each signature, by name.
    """
    intra = tf.config.threading.get_intra_op_parallelism_threads()
    inter = tf.config.threading.get_inter_op_parallelism_threads()
    quiet.hide_session_notes(intra, inter)
    options = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=intra, inter_op_parallelism_threads=inter
    )
    graph = tf.Graph()
    session = tf.compat.v1.Session(graph=graph, config=options)
    with graph.as_default():
        tf.compat.v1.saved_model.loader.load(session, [tf.saved_model.SERVING], str(folder))
    graph.finalize()

    def make(definition: SignatureDef) -> Run:
        outputs = {alias: info.name for alias, info in definition.outputs.items()}

        def run(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
            for alias, value in inputs.items():
                _check_shape(alias, value, definition.inputs[alias])
            feed = {definition.inputs[alias].name: value for alias, value in inputs.items()}
            return session.run(outputs, feed)

        return run

    # A session has no such operation for the signature that initialises a model.
    return {
        name: make(definition)
        for name, definition in signature_defs.items()
        if definition.outputs and definition.method_name
    }


def _check_shape(alias: str, value: Tensor, info: TensorInfo) -> None:
    """Refuses a shape in the words of the graph, which Python would not let see it."""
    wanted = tf.TensorShape(info.tensor_shape)
    if not wanted.is_compatible_with(value.shape):
        found = ",".join(str(size) for size in value.shape)
        raise invalid(
            f"Shape of tensor {alias} [{found}] is not compatible with expected shape "
            f"[{','.join('?' if size is None else str(size) for size in wanted.as_list())}]."
        )
