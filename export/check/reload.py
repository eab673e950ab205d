"""Script: asks every signature of a SavedModel in a fresh process that has TensorFlow alone.

Its arguments are the folder of the SavedModel and the file for the answers, an .npz with an array
for each `signature/output`. Standard input is a JSON list of base64 image files. The warm-up
requests are replayed, too. It prints JSON: how many requests were `replayed`, and as `strangers`
the modules that were imported and should not be.
"""

import base64
import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

# The process ends before garbage could matter, and looking for it takes a third of an import.
gc.disable()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# TensorFlow imports Keras if it is there; a model server has none, so here it must not be found.
sys.modules["keras"] = None  # type: ignore[assignment]

import numpy as np  # noqa: E402  The log level must be set before.
import tensorflow as tf  # noqa: E402
from tensorflow_serving.apis import prediction_log_pb2  # noqa: E402

STRANGERS = ("imgcap", "export", "serving", "keras")
# As `imgcap.files.model_folder` has it, which this process must not find.
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"


def main(folder: str, output: str) -> None:
    """Loads the model, asks it, replays its warm-up and writes the answers."""
    images = tf.constant([base64.b64decode(row) for row in json.load(sys.stdin)])
    loaded = tf.saved_model.load(folder)
    rows = {"image_bytes": images, "query": tf.constant([""])}
    rows["seed"] = tf.zeros([len(images)], tf.int32)
    rows["features"] = loaded.signatures["encode"](image_bytes=images)["features"]
    answers: dict[str, Any] = {}
    for name, signature in loaded.signatures.items():
        given = {alias: rows[alias] for alias in signature.structured_input_signature[1]}
        answers |= {
            f"{name}/{alias}": _plain(tensor) for alias, tensor in signature(**given).items()
        }
    np.savez(output, **answers)
    strangers = [name for name in STRANGERS if sys.modules.get(name)]
    print(json.dumps({"replayed": _replay(loaded, Path(folder)), "strangers": strangers}))


def _plain(tensor: tf.Tensor) -> np.ndarray:
    """An array of numbers, or of bytes of one length: objects would have to be pickled."""
    return tensor.numpy().astype(np.bytes_) if tensor.dtype == tf.string else tensor.numpy()


def _replay(loaded: tf.Module, folder: Path) -> int:
    """Runs the warm-up requests; returns how many there are."""
    records = tf.data.TFRecordDataset(str(folder / WARMUP_FILE))
    requests = [
        prediction_log_pb2.PredictionLog.FromString(row).predict_log.request
        for row in records.as_numpy_iterator()
    ]
    for request in requests:
        inputs = {
            alias: tf.constant(tf.make_ndarray(proto)) for alias, proto in request.inputs.items()
        }
        loaded.signatures[request.model_spec.signature_name](**inputs)
    return len(requests)


if __name__ == "__main__":
    main(*sys.argv[1:])
