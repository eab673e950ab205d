"""Whether a written model captions as the live one, once it is reloaded in a fresh process that has
TensorFlow and nothing of this package.
"""

import base64
import io
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import graph_pb2
from tensorflow.core.protobuf import saved_model_pb2

from export.card import Facts
from export.module import CaptionModule
from imgcap import signature
from imgcap.data import manifest, records
from imgcap.data.raw import drawn
from imgcap.errors import DataError, ExportError
from imgcap.files.literal import literal_folder

RELOADER = Path(__file__).with_name("reload.py")
IMAGES = 16
NOT_AN_IMAGE = b"not an image"
# The same graph in another process: grappler and thread counts may round differently in the last
# bits.
SCORE_TOLERANCE = 1e-4
# Of the greatest feature. In bfloat16 another order of adding may flip the last of eight bits.
FEATURE_TOLERANCE = 1e-2
COMPARED = (
    signature.ENCODE,
    signature.DECODE,
    signature.GREEDY,
    signature.SAMPLE,
    signature.DECODE_FEATURES,
)
"""The signatures whose answers are compared; `encode` gives what `decode_features` is asked."""
FORBIDDEN_OPS = ("Cudnn", "PyFunc", "EagerPyFunc")


def sample_images(data_dir: Path | str) -> list[bytes]:
    """Reads real images of a run's data if they are still there, and draws those that are missing.

    Args:
        data_dir: where training found the prepared data.

    Returns:
        16 encoded image files.
    """
    try:
        paths = manifest.shard_paths(data_dir, manifest.load_manifest(data_dir), "dev")
    except DataError:
        paths = []
    rows = (
        tf.data.TFRecordDataset([os.fsencode(path) for path in paths])
        .map(records.parse_example)
        .take(IMAGES)
    )
    real = [row.image_bytes.numpy() for row in rows]
    return real + [_draw(seed) for seed in range(IMAGES - len(real))]


def _draw(seed: int) -> bytes:
    buffer = io.BytesIO()
    drawn.draw_scene(random.Random(seed)).picture.save(buffer, "PNG")
    return buffer.getvalue()


def check_parity(
    written: Path, module: CaptionModule, facts: Facts, images: Sequence[bytes]
) -> None:
    """Compares the written model with the live one, replays its warm-up file and scans its
    operations.

    Args:
        written: a SavedModel's folder.
        module: the live model that was written.
        facts: what its card must say.
        images: encoded image files.

    Raises:
        ExportError: an answer differs, a warm-up request fails, or an operation is in the graph
            that a stock server lacks.
    """
    refuse_operations(written)
    rows = [*images, NOT_AN_IMAGE]
    reloaded = reload_answers(written, rows)
    given = {
        signature.IMAGE_BYTES: tf.constant(rows),
        signature.SEED: tf.zeros([len(rows)], tf.int32),
    }
    for name in COMPARED:
        inputs = [given[alias] for alias in module.contract[name].inputs]
        # The function that was saved; a call by name would trace it anew.
        live = getattr(module, name).get_concrete_function()(*inputs)
        _compare(written, name, live, reloaded)
        given |= {alias: tensor for alias, tensor in live.items() if alias == signature.FEATURES}
    if json.loads(reloaded[f"{signature.DESCRIBE}/{signature.CARD}"][0]) != facts:
        raise ExportError(f"{written}: the card differs after reloading: nothing was published")


def _compare(
    written: Path, name: str, live: Mapping[str, tf.Tensor], reloaded: Mapping[str, np.ndarray]
) -> None:
    """Refuses a signature if its captions, errors, scores or features differ."""
    for alias in (signature.CAPTION, signature.ERROR):
        if alias in live:
            _compare_texts(
                f"{written}: {name}/{alias}",
                live[alias].numpy().tolist(),
                reloaded[f"{name}/{alias}"].tolist(),
            )
    for alias, tolerance in (
        (signature.SCORE, SCORE_TOLERANCE),
        (signature.CONFIDENCE, SCORE_TOLERANCE),
        (signature.FEATURES, FEATURE_TOLERANCE),
    ):
        if alias in live:
            compare_numbers(
                f"{written}: {name}/{alias}",
                live[alias].numpy(),
                reloaded[f"{name}/{alias}"],
                tolerance,
            )


def _compare_texts(what: str, live: list[bytes], reloaded: list[bytes]) -> None:
    wrong = [row for row, text in enumerate(live) if text != reloaded[row]]
    if wrong:
        raise ExportError(
            f"{what} of {len(wrong)} of {len(live)} images differs after reloading (first: "
            f"{live[wrong[0]].decode()!r} became {reloaded[wrong[0]].decode()!r}): nothing was "
            "published"
        )


def compare_numbers(what: str, live: np.ndarray, reloaded: np.ndarray, tolerance: float) -> None:
    """Refuses numbers that differ.

    Args:
        what: names them in the error.
        live: float [B, ...].
        reloaded: of the same shape.
        tolerance: as a part of the greatest finite number of `live`, or of 1 if that is greater.

    Raises:
        ExportError: a number differs by more.
    """
    # What was not found has a score of -inf on both sides.
    greatest = max(1.0, float(np.abs(live[np.isfinite(live)]).max(initial=0.0)))
    close = np.isclose(reloaded, live, rtol=0.0, atol=tolerance * greatest)
    if not close.all():
        row = int(np.argmin(close.reshape([len(live), -1]).all(axis=1)))
        raise ExportError(
            f"{what} differs after reloading, by more than {tolerance * greatest:.1g} (first: "
            f"image {row}): nothing was published"
        )


def reload_answers(written: Path, rows: Sequence[bytes]) -> dict[str, np.ndarray]:
    """Asks every signature in a fresh process, which also replays the warm-up requests.

    Args:
        written: a SavedModel's folder.
        rows: encoded image files.

    Returns:
        The answers, by `signature/output`.

    Raises:
        ExportError: the model cannot be loaded or called, or needs more than TensorFlow.
    """
    request = json.dumps([base64.b64encode(row).decode() for row in rows])
    with tempfile.TemporaryDirectory() as folder, literal_folder(written) as literal:
        answers = Path(folder, "answers.npz")
        # -I: the fresh process finds neither this package's folder nor the user's environment.
        command = [sys.executable, "-I", str(RELOADER), str(literal), str(answers)]
        done = subprocess.run(command, input=request, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise ExportError(f"{written} can't be reloaded ({last[:200]}): nothing was published")
        strangers = json.loads(done.stdout)["strangers"]
        if strangers:
            raise ExportError(
                f"{written} needs {', '.join(strangers)} to be loaded: nothing was published"
            )
        with np.load(answers) as arrays:
            return dict(arrays)


def count_operations(written: Path) -> Counter[str]:
    """Counts each operation in a SavedModel's graph and functions.

    Args:
        written: the SavedModel's folder.
    """
    graph = _read_graph(written)
    nodes = [
        *graph.node,
        *(node for function in graph.library.function for node in function.node_def),
    ]
    return Counter(node.op for node in nodes)


def _read_graph(written: Path) -> graph_pb2.GraphDef:
    return (
        saved_model_pb2.SavedModel.FromString((written / "saved_model.pb").read_bytes())
        .meta_graphs[0]
        .graph_def
    )


def refuse_operations(written: Path) -> None:
    """Refuses a SavedModel that a stock server could not run on a CPU.

    Args:
        written: its folder.

    Raises:
        ExportError: names the operations.
    """
    found = sorted(name for name in count_operations(written) if name.startswith(FORBIDDEN_OPS))
    if any(
        function.attr["_XlaMustCompile"].b for function in _read_graph(written).library.function
    ):
        found.append("functions compiled by XLA")
    if found:
        raise ExportError(
            f"{written} holds {', '.join(found)}, which a stock CPU server can't run: nothing was "
            "published"
        )
