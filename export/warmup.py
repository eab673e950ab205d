"""The warm-up file that TensorFlow Serving replays before a version is AVAILABLE, so that no user
waits for the first request's graph optimisation.
"""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

from imgcap import signature
from imgcap.files.model_folder import WARMUP_FILE
from imgcap.model.caption_graph import CaptionGraph


def write_warmup(written: Path, graph: CaptionGraph) -> None:
    """Writes a request for each signature and each size that a server pads a batch to.

    Args:
        written: the folder of a SavedModel.
        graph: that was written.
    """
    rows = {
        signature.IMAGE_BYTES: tf.constant([_grey_image()]),
        signature.SEED: tf.constant([0]),
        signature.FEATURES: tf.zeros([1, *graph.features_shape]),
        signature.QUERY: tf.constant([""]),
    }
    (written / WARMUP_FILE.parent).mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(written / WARMUP_FILE)) as writer:
        for request in _requests(graph.signatures, rows):
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            writer.write(log.SerializeToString())


def _requests(
    signatures: Mapping[str, signature.Signature], rows: Mapping[str, tf.Tensor]
) -> Iterator[predict_pb2.PredictRequest]:
    """Requests of every signature in every size, made of one row for each input."""
    for name, served in signatures.items():
        for batch_size in signature.BATCH_SIZES:
            batch = {alias: tf.repeat(rows[alias], batch_size, axis=0) for alias in served.inputs}
            yield predict_pb2.PredictRequest(
                model_spec=model_pb2.ModelSpec(name=signature.MODEL_NAME, signature_name=name),
                inputs={
                    alias: tf.make_tensor_proto(value.numpy()) for alias, value in batch.items()
                },
            )


def _grey_image() -> bytes:
    """A small JPEG file."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (128, 128, 128)).save(buffer, "JPEG")
    return buffer.getvalue()
