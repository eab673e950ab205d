"""What a signature refuses by itself, whoever serves it, and that a large batch is no other."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from imgcap import signature
from serving.server.models.predict import parse_predict
from serving.server.models.servable import _graph_message, read_signature_defs
from serving.server.request_error import RequestError

CONTRACT = signature.make_signatures(attends=False, confident=True)
"""Of the shared export."""

RANKS = {
    alias: len(signature.TENSORS[alias][1].split())
    for contract in CONTRACT.values()
    for alias in contract.inputs
}
"""Dimensions of each input."""


@pytest.fixture(scope="module")
def served(models: Path) -> Any:
    return tf.saved_model.load(str(models / "1")).signatures


@pytest.mark.parametrize("name", CONTRACT)
def test_too_many_rows(name: str, served: Any) -> None:
    given = served[name].structured_input_signature[1]
    rows = {alias: tf.zeros([257, *spec.shape[1:]], spec.dtype) for alias, spec in given.items()}
    first = CONTRACT[name].inputs[0]
    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match=rf"\[{first} has 257 rows, this model takes at most 256 at a time: send fewer\]",
    ):
        served[name](**rows)


@pytest.mark.parametrize("name", CONTRACT)
def test_embedded_server_says_the_same_before_the_rows_are_made(
    name: str, served: Any, models: Path
) -> None:
    manifest = json.loads((models / "1" / "manifest.json").read_text())
    model = SimpleNamespace(
        version=1,
        max_rows=manifest["max_batch"],
        signature_defs=read_signature_defs(models / "1"),
    )
    given = served[name].structured_input_signature[1]
    rows = {alias: tf.zeros([300, *spec.shape[1:]], spec.dtype) for alias, spec in given.items()}
    with pytest.raises(tf.errors.InvalidArgumentError) as graph:
        served[name](**rows)
    request = PredictRequest()
    request.model_spec.signature_name = name
    for alias, spec in given.items():  # no value is sent
        shape = tf.TensorShape([300, *spec.shape[1:]]).as_proto()
        proto = TensorProto(dtype=spec.dtype.as_datatype_enum, tensor_shape=shape)
        request.inputs[alias].CopyFrom(proto)
    with pytest.raises(RequestError) as server:
        parse_predict(model, request)
    assert server.value.details == _graph_message(graph.value.message).partition("\n\t [[")[0]


def test_a_seed_for_each_image(served: Any) -> None:
    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match="image_bytes has 3 rows and seed has 2: give one for each",
    ):
        served[signature.SAMPLE](image_bytes=tf.constant([b""] * 3), seed=tf.constant([1, 2]))


def test_more_dimensions_than_a_signature_has(models: Path) -> None:
    """As a server runs it, by a session, and with tensors of up to 254 dimensions."""
    load = tf.compat.v1.saved_model.loader.load
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        definitions = load(session, ["serve"], str(models / "1")).signature_def
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        # A placeholder takes arrays, and numpy's have 64 dimensions at most.
        messages = {alias: tf.compat.v1.placeholder(tf.string, []) for alias in RANKS}
        parsed = {
            definitions[name].inputs[alias].name: tf.io.parse_tensor(
                messages[alias], signature.TENSORS[alias][0]
            )
            for name, contract in CONTRACT.items()
            for alias in contract.inputs
        }
        load(session, ["serve"], str(models / "1"), import_scope="served", input_map=parsed)
        for name, contract in CONTRACT.items():
            output = f"served/{definitions[name].outputs[contract.outputs[0]].name}"
            for alias in contract.inputs:
                for rank in {0, 2, 33, 254} - {RANKS[alias]}:
                    ranks = {**RANKS, alias: rank}
                    feed = {messages[other]: message(other, ranks[other]) for other in RANKS}
                    with pytest.raises(
                        tf.errors.InvalidArgumentError, match="is not compatible with expected"
                    ):
                        session.run(output, feed)


def message(alias: str, rank: int) -> bytes:
    """A tensor of one value for an input, as a message in bytes."""
    proto = TensorProto(dtype=tf.as_dtype(signature.TENSORS[alias][0]).as_datatype_enum)
    for _ in range(rank):
        proto.tensor_shape.dim.add(size=1)
    values = {tf.string: (proto.string_val, b""), tf.int32: (proto.int_val, 0)}
    field, value = values.get(tf.as_dtype(proto.dtype), (proto.float_val, 0.0))
    field.append(value)
    return proto.SerializeToString()


@pytest.mark.parametrize("name", [signature.DECODE_DETAILS, signature.GREEDY, signature.SAMPLE])
def test_a_batch_of_two_slices_is_its_rows(name: str, served: Any, raw_dir: Path) -> None:
    files = [path.read_bytes() for path in sorted((raw_dir / "Images").iterdir())[:19]]
    rows = {signature.IMAGE_BYTES: tf.constant([*files, b"text"])}
    if name == signature.SAMPLE:
        rows[signature.SEED] = tf.range(20)
    batch = served[name](**rows)
    for row in range(20):
        alone = served[name](**{alias: part[row : row + 1] for alias, part in rows.items()})
        for alias, expected in alone.items():
            found = batch[alias][row : row + 1]
            if expected.dtype.is_floating:
                np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5, err_msg=alias)
            else:
                np.testing.assert_array_equal(found, expected, err_msg=alias)
