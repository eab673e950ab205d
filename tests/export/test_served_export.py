"""An export behind the server: every signature listed, batched across requests, and asked by the
client.
"""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    model_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from export import card
from imgcap import signature
from serving.client.blocking import CaptionClient
from serving.client.errors import BadImage
from serving.server.local_server import LocalServer, ServerOptions
from serving.server.models.model_list import one_model
from serving.server.models.servable import Servable
from serving.server.queue.options import BatchingOptions

CONTRACT = signature.make_signatures(attends=False, confident=True)
"""Of the shared export."""


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[LocalServer]:
    # Long enough that requests which come together share a batch.
    batching = BatchingOptions(
        max_batch_size=signature.BATCH_SIZES[-1],
        timeout_seconds=0.5,
        allowed_batch_sizes=signature.BATCH_SIZES,
    )
    with LocalServer(one_model(models), ServerOptions(batching=batching)) as running:
        yield running


@pytest.fixture(scope="module")
def served(models: Path) -> Any:
    return tf.saved_model.load(str(models / "1")).signatures


@pytest.fixture(scope="module")
def images(raw_dir: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((raw_dir / "Images").iterdir())[:5]]


def predict(server: LocalServer, name: str, rows: tf.Tensor) -> dict[str, np.ndarray]:
    request = predict_pb2.PredictRequest(
        model_spec=model_pb2.ModelSpec(name="imgcap", signature_name=name),
        inputs={CONTRACT[name].inputs[0]: tf.make_tensor_proto(rows)},
    )
    with grpc.insecure_channel(server.target) as channel:
        response = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(
            request, timeout=60
        )
    return {alias: tf.make_ndarray(proto) for alias, proto in response.outputs.items()}


def batches(server: LocalServer) -> int:
    """How many have run."""
    found = re.search(r"processed_batch_size_count\{\} (\d+)", server.metrics.text())
    assert found
    return int(found[1])


def test_metadata_lists_the_contract(server: LocalServer) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec=model_pb2.ModelSpec(name="imgcap"), metadata_field=["signature_def"]
    )
    with grpc.insecure_channel(server.target) as channel:
        response = prediction_service_pb2_grpc.PredictionServiceStub(channel).GetModelMetadata(
            request, timeout=60
        )
    listed = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(listed)
    for name, (given, returned) in CONTRACT.items():
        found = listed.signature_def[name]
        assert set(found.inputs) == set(given) and set(found.outputs) == set(returned)
        for alias, info in [*found.inputs.items(), *found.outputs.items()]:
            dtype, axes = signature.TENSORS[alias]
            assert tf.as_dtype(info.dtype).name == dtype and len(info.tensor_shape.dim) == len(
                axes.split()
            )
            assert info.tensor_shape.dim[0].size == -1


@pytest.mark.parametrize(
    "name", [signature.DECODE, signature.GREEDY, signature.ENCODE, signature.DECODE_FEATURES]
)
def test_requests_of_all_sizes_share_batches(
    name: str, server: LocalServer, served: Any, images: list[bytes]
) -> None:
    rows = tf.constant([images[0], b"text", *images[1:]])
    if name == signature.DECODE_FEATURES:
        rows = served[signature.ENCODE](image_bytes=rows)[signature.FEATURES]
    expected = served[name](**{CONTRACT[name].inputs[0]: rows})
    predict(server, name, rows[:1])
    before = batches(server)
    with ThreadPoolExecutor(4) as pool:
        parts = list(
            pool.map(
                lambda part: predict(server, name, part), [rows[:1], rows[1:2], rows[2:3], rows[3:]]
            )
        )
    assert batches(server) < before + 4
    for alias, tensor in expected.items():
        found = np.concatenate([part[alias] for part in parts])
        if tensor.dtype.is_floating:
            np.testing.assert_allclose(found, tensor, rtol=1e-5, atol=1e-5, err_msg=alias)
        else:
            assert found.tolist() == tensor.numpy().tolist(), alias


def test_the_default_and_decode_are_loaded_once(models: Path) -> None:
    functions = Servable(models / "1").functions
    assert set(functions) == set(CONTRACT)
    assert (
        functions[signature.SERVING_DEFAULT]
        is functions[signature.DECODE]
        is not functions[signature.GREEDY]
    )


def test_an_empty_batch(server: LocalServer) -> None:
    assert predict(server, signature.DESCRIBE, tf.zeros([0], tf.string))["card"].shape == (0,)
    assert predict(server, signature.GREEDY, tf.zeros([0], tf.string))["captions"].shape == (0, 1)


def test_the_client(server: LocalServer, models: Path, images: list[bytes], served: Any) -> None:
    with (
        CaptionClient(server.target) as beam,
        CaptionClient(server.target, signature="greedy") as greedy,
    ):
        assert beam.describe() == card.read_manifest(models / "1")
        assert beam.signatures() == tuple(sorted(CONTRACT))
        by_beam, by_greed = beam.caption(images[0]), greedy.caption(images[0])
        assert (
            len(by_beam.alternatives) == 3
            and len(by_greed.alternatives) == 1
            and by_greed.version == 1
        )
        expected = served[signature.GREEDY](image_bytes=tf.constant(images[:1]))
        assert by_greed.text == expected["caption"].numpy()[0].decode()
        with pytest.raises(BadImage, match="not an image"):
            greedy.caption(b"text")
