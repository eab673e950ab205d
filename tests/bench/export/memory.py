"""Memory of a process that serves a SavedModel, step by step, each row in a fresh process.

    python -m tests.bench.export.memory models/imgcap/1     an export
    python -m tests.bench.export.memory bare                constants of 80 MB, and nothing else

The bare model shows what is TensorFlow's own: constants are held five times once a session is
loaded, and twice more for each signature that is asked, as they are and as oneDNN packs them.
Functions (`tf.saved_model.load`) hold them some fifteen times, and three times for each signature.
"""

import contextlib
import ctypes
import gc
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SESSION, FUNCTIONS = "session", "functions"
BARE = "bare"
KERNELS, WIDTH = 20, 1000
SIZE, PICTURE = 7, 500
STEPS = {
    "each signature": ["serving_default:1", "decode_details:1", "greedy:1", "sample:1", "encode:1"],
    "a batch of 16": ["serving_default:16"],
    "a batch of 256": ["serving_default:256"],
}
BARE_STEPS = {"each signature": [f"s{number}:1" for number in range(4)]}


def main(model: str) -> None:
    """Prints the table of a model."""
    with _model(model) as folder:
        print("| process | step | resident, MB | after malloc_trim | peak | seconds |")
        print("|---|---|---|---|---|---|")
        for kind in (SESSION, FUNCTIONS):
            for name, steps in (BARE_STEPS if model == BARE else STEPS).items():
                command = [sys.executable, "-m", __spec__.name, str(folder), kind, *steps]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    sys.exit(done.stderr[-2000:])
                for row in map(json.loads, done.stdout.splitlines()):
                    print("|", " | ".join([f"{kind}, {name}", *map(str, row)]), "|", flush=True)


@contextlib.contextmanager
def _model(name: str) -> Iterator[Path]:
    """The folder of the model; the bare one is written to a folder that is removed again."""
    if name != BARE:
        yield Path(name)
        return
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                sys.executable,
                "-c",
                f"from {__spec__.name} import write_bare; write_bare({folder!r})",
            ],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        yield Path(folder)


def write_bare(folder: str) -> None:
    """Writes a SavedModel of one encoder of constants and four signatures that call it."""
    import numpy as np
    import tensorflow as tf

    shape = [None, SIZE, SIZE, WIDTH]
    rng = np.random.default_rng(0)
    kernels = [rng.normal(0, 0.03, [1, 1, WIDTH, WIDTH]) for _ in range(KERNELS)]
    images = tf.TensorSpec(shape, tf.float32, name="images")

    @tf.function(input_signature=[images], autograph=False)
    def encode(x: tf.Tensor) -> tf.Tensor:
        for kernel in kernels:
            x = tf.nn.conv2d(x, tf.constant(kernel, tf.float32), 1, "SAME")
            x = tf.nn.relu(tf.nn.bias_add(x, tf.zeros([WIDTH])))
        return x

    module = tf.Module()
    for number in range(4):
        factor = float(number)
        function = tf.function(
            lambda images, factor=factor: {"features": factor * encode(images)},
            input_signature=[images],
        )
        setattr(module, f"s{number}", function)
    signatures = {f"s{number}": getattr(module, f"s{number}") for number in range(4)}
    tf.saved_model.save(module, folder, signatures=signatures)


def measure(folder: Path, kind: str, steps: list[str]) -> None:
    """Loads a model, asks it and prints a row of JSON after each step."""
    started = time.monotonic()
    from imgcap.host import quiet

    quiet.import_tensorflow()
    import tensorflow as tf

    from serving.server.models.running import load_functions, load_session
    from serving.server.models.servable import read_signature_defs

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tell = _Teller(started)
    tell("TensorFlow alone")
    definitions = read_signature_defs(folder)
    load: Callable[[], dict[str, Any]] = (
        (lambda: load_session(folder, definitions))
        if kind == SESSION
        else (lambda: load_functions(folder))
    )
    runs = load()
    tell("loaded")
    for step in steps:
        name, rows = step.split(":")
        if name in runs:
            runs[name]({alias: _rows(alias, int(rows)) for alias in definitions[name].inputs})
            tell(f"{name}, {rows} rows")


def _rows(alias: str, count: int) -> Any:
    """An input of so many rows: a photograph, a seed, or a map of the bare model."""
    import numpy as np
    from PIL import Image

    if alias == "seed":
        return np.arange(count, dtype=np.int32)
    if alias == "images":
        return np.zeros([count, SIZE, SIZE, WIDTH], np.float32)
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, [PICTURE, PICTURE, 3], np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG")
    return np.array([buffer.getvalue()] * count, object)


class _Teller:
    """Prints the memory of this process, and the time since the last row."""

    def __init__(self, started: float) -> None:
        self._last = started

    def __call__(self, step: str) -> None:
        seconds = time.monotonic() - self._last
        resident, peak = _status("VmRSS"), _status("VmHWM")
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        row = [step, resident, _status("VmRSS"), peak, round(seconds, 1)]
        print(json.dumps(row), flush=True)
        Path("/proc/self/clear_refs").write_text("5")  # the peak of the next step alone
        self._last = time.monotonic()


def _status(name: str) -> int:
    """A line of /proc/self/status, kB made MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) // 1024


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(sys.argv[1])
    else:
        measure(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
