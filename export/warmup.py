"""The warm-up file that TensorFlow Serving replays before a version is AVAILABLE, so that no user
waits for the first request's graph optimisation.
"""

import io
import os
from pathlib import Path

import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

from imgcap import signature
from imgcap.files.model_folder import WARMUP_FILE

WARMED = {
    signature.SERVING_DEFAULT: signature.BATCH_SIZES,
    signature.DECODE_DETAILS: (1,),
    signature.DESCRIBE: (1,),
}
"""Signatures that are warmed up, with their numbers of rows.

A server makes a graph of its own for each signature that is asked, in seconds and with all weights
of the encoder, twice if they are constants. So those alone are warmed that the clients of this
project ask by default; any other is made when it is asked first.
"""


def write_warmup(written: Path, max_batch: int) -> None:
    """Writes the requests of `WARMED`.

    Args:
        written: the folder of a SavedModel.
        max_batch: rows that a request may have.
    """
    rows = {signature.IMAGE_BYTES: _grey_image(), signature.QUERY: b""}
    (written / WARMUP_FILE.parent).mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(os.fsencode(written / WARMUP_FILE)) as writer:
        for name, sizes in WARMED.items():
            alias = signature.QUERY if name == signature.DESCRIBE else signature.IMAGE_BYTES
            for size in sizes:
                if size <= max_batch:
                    request = _request(name, alias, [rows[alias]] * size)
                    writer.write(request.SerializeToString())


def _request(name: str, alias: str, rows: list[bytes]) -> prediction_log_pb2.PredictionLog:
    """A request of a signature, as warm-up files have it."""
    request = predict_pb2.PredictRequest(
        model_spec=model_pb2.ModelSpec(name=signature.MODEL_NAME, signature_name=name),
        inputs={alias: tf.make_tensor_proto(rows, tf.string)},
    )
    return prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
    )


def _grey_image() -> bytes:
    """A small JPEG file."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (128, 128, 128)).save(buffer, "JPEG")
    return buffer.getvalue()
