"""Run as a script in a fresh process, with the folder of a SavedModel and the name of a file: loads
the model with TensorFlow alone, asks every signature about what comes on standard input (a JSON
list of base64 image files), replays the warm-up requests, and writes the answers to the file as an
.npz with an array `signature/output` each. Prints how many requests were replayed and which modules
were imported that should not be, as JSON.
"""

import base64
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# TensorFlow imports Keras where it can; a model server has none, so here it can't.
sys.modules["keras"] = None  # type: ignore[assignment]

import numpy as np  # noqa: E402  The log level must be set before.
import tensorflow as tf  # noqa: E402
from tensorflow_serving.apis import prediction_log_pb2  # noqa: E402

STRANGERS = ("imgcap", "export", "serving", "keras")


def main(folder: str, output: str) -> None:
    """Loads, asks, replays, writes."""
    images = tf.constant([base64.b64decode(row) for row in json.load(sys.stdin)])
    loaded = tf.saved_model.load(folder)
    rows = {"image_bytes": images, "query": tf.constant([""])}
    rows["features"] = loaded.signatures["encode"](image_bytes=images)["features"]
    answers = {}
    for name, signature in loaded.signatures.items():
        given = {alias: rows[alias] for alias in signature.structured_input_signature[1]}
        answers |= {
            f"{name}/{alias}": _plain(tensor) for alias, tensor in signature(**given).items()
        }
    np.savez(output, **answers)
    strangers = [name for name in STRANGERS if sys.modules.get(name)]
    print(json.dumps({"replayed": _replay(loaded, Path(folder)), "strangers": strangers}))


def _plain(tensor: tf.Tensor) -> np.ndarray:
    """Strings as bytes of one length: objects would have to be pickled."""
    return tensor.numpy().astype(np.bytes_) if tensor.dtype == tf.string else tensor.numpy()


def _replay(loaded: tf.Module, folder: Path) -> int:
    records = tf.data.TFRecordDataset(str(folder / "assets.extra" / "tf_serving_warmup_requests"))
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
