"""The training step beside the same step in PyTorch, eager: by turns, in one process on one core.

The process is a fresh one, since it must be on its core before TensorFlow and PyTorch count theirs.
"""

import importlib.util
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from imgcap.errors import RunError
from tests.bench.table import Row
from tests.support.paths import ROOT

MODULE = "tests.bench.training.peer"
INSTALL = "pip install torch --index-url https://download.pytorch.org/whl/cpu"
# As EfficientNet-Lite0's grid and Flickr8k's captions are, by the recipe of attention.
SIZES = {"positions": 49, "channels": 1280, "units": 512, "words": 2543, "captions": 64}
# 2,000 captions, of which some batches from all over the epoch are trained on.
IMAGES, BATCHES = 400, 8
PRECISIONS = {"float32": "≥ 1.8", "mixed_bfloat16": "≥ 1.6"}
OURS, PEER = "imgcap", "PyTorch"


def peer_rows(repetitions: int) -> list[Row]:
    """Times the training step of attention on stored features against PyTorch's, on one core.

    Args:
        repetitions: turns that both have.

    Returns:
        A row a precision; without a ratio if PyTorch is not installed.

    Raises:
        RunError: the process failed.
    """
    if not is_installed():
        return [_row(precision, None, f"not run: {INSTALL}") for precision in PRECISIONS]
    settings = {**SIZES, "images": IMAGES, "batches": BATCHES, "repetitions": repetitions}
    command = [sys.executable, "-m", MODULE, json.dumps(settings)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if ended.returncode:
        reason = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise RunError(
            f"{MODULE} ended with status {ended.returncode} ({reason}): run {command[:3]} with "
            f"'{command[3]}' by hand to see why"
        )
    return rows_of(json.loads(ended.stdout.splitlines()[-1]))


def is_installed() -> bool:
    """Whether PyTorch is there to compare with."""
    return importlib.util.find_spec("torch") is not None


def rows_of(speeds: dict[str, dict[str, float]]) -> list[Row]:
    """Rows of the ratios.

    Args:
        speeds: captions a second of both, by precision.
    """
    return [
        _row(
            precision,
            found[OURS] / found[PEER],
            f"{found[OURS]:.0f} against {found[PEER]:.0f} captions/s, {SIZES['captions']} a step, "
            "one core",
        )
        for precision, found in speeds.items()
    ]


def _row(precision: str, ratio: float | None, note: str) -> Row:
    name = f"training step of attention against PyTorch's, eager, {precision}"
    return Row(name, ratio, PRECISIONS[precision], note)


def measure(settings: dict[str, int]) -> dict[str, dict[str, float]]:
    """Times both in this process.

    Args:
        settings: sizes, images, batches and repetitions.

    Returns:
        Captions a second of both, by precision.
    """
    from tests.bench.timing import clocked, take_turns

    with tempfile.TemporaryDirectory() as folder:
        batches = make_batches(settings, Path(folder))
    captions = sum(int((batch.tokens[:, :, 0] > 0).numpy().sum()) for batch in batches)
    turns = {
        (precision, name): clocked(make(settings, precision, batches))
        for precision in PRECISIONS
        for name, make in ((OURS, _make_ours), (PEER, _make_peer))
    }
    medians = take_turns(turns, settings["repetitions"])
    return {
        precision: {name: captions / medians[precision, name] for name in (OURS, PEER)}
        for precision in PRECISIONS
    }


def make_batches(settings: dict[str, int], folder: Path) -> list[Any]:
    """Makes stored features up and reads them as training does.

    Args:
        settings: sizes, images and batches.
        folder: for the shard.

    Returns:
        Some `Batch`es from all over an epoch.
    """
    import numpy as np

    from imgcap.data.batches import EncodedCaptions, Position, training_batches
    from imgcap.data.records import Record, to_example, with_features, write_shard
    from imgcap.data.text.vocabulary import END, START
    from tests.bench.training.photos import CAPTIONS, draw_length

    words, drawn = random.Random(0), np.random.default_rng(0)
    shape = settings["positions"], settings["channels"]

    def draw_caption() -> tuple[int, ...]:
        # Not the special tokens, which come first in a vocabulary.
        inner = words.choices(range(4, settings["words"]), k=draw_length(words))
        return (START, *inner, END)

    def draw_example(number: int) -> bytes:
        tokens = tuple(draw_caption() for _ in range(CAPTIONS))
        record = Record(f"{number}.jpg", b"", ("",) * CAPTIONS, tokens)
        return with_features(to_example(record), drawn.random((1, *shape), np.float32))

    path = folder / "train-00000-of-00001.tfrecord"
    write_shard(path, map(draw_example, range(settings["images"])))
    # Of the longest that is drawn at all, practically.
    examples = EncodedCaptions(settings["captions"], shape, max_length=40)
    epoch = list(training_batches([str(path)], examples, Position()))
    count = settings["batches"]
    return list(itertools.islice(epoch, 0, None, max(1, len(epoch) // count)))[:count]


def _make_ours(
    settings: dict[str, int], precision: str, batches: Sequence[Any]
) -> Callable[[], object]:
    """A function that takes imgcap's step on each batch."""
    from imgcap.config import Config, ModelConfig, TrainConfig
    from tests.bench.training.workload import make_step, train_on

    units = settings["units"]
    model = ModelConfig(
        decoder="attention",
        units=units,
        embedding_dim=units,
        attention_units=units,
        dropout=0.5,
    )
    train = TrainConfig(
        batch_size=settings["captions"],
        cache_features=True,
        precision=precision,
        label_smoothing=0.1,
        clip_norm=5.0,
        ema_momentum=0.0,
    )
    encoder = SimpleNamespace(
        features_shape=(settings["positions"], settings["channels"]),
        network=SimpleNamespace(trainable_variables=[]),
        set_trainable=lambda blocks, update_statistics: None,
    )
    work: Any = SimpleNamespace(
        config=Config(model=model, train=train),
        encoder=encoder,
        vocabulary=range(settings["words"]),
    )
    step = make_step(work, train)
    return lambda: train_on(step, batches)


def _make_peer(
    settings: dict[str, int], precision: str, batches: Sequence[Any]
) -> Callable[[], object]:
    """A function that takes PyTorch's step on the same captions, each with its image's features."""
    import torch

    from tests.bench.training.pytorch_decoder import Attention, Sizes, make_step

    torch.set_num_threads(1)
    half = precision == "mixed_bfloat16"
    sizes = Sizes(settings["words"], settings["channels"], settings["units"])
    step = make_step(Attention(sizes), half)
    # Features in the type that products need: PyTorch is not made to wait for float16.
    dtype = torch.bfloat16 if half else torch.float32
    rows = [
        (torch.from_numpy(features).to(dtype), torch.from_numpy(tokens))
        for features, tokens in map(captions_of, batches)
    ]

    def train() -> None:
        for features, tokens in rows:
            step(features, tokens)

    return train


def captions_of(batch: Any) -> tuple[Any, Any]:
    """A batch as a row a caption: features float16 [B, L, C] and tokens int64 [B, T] in numpy."""
    import numpy as np

    features, tokens = np.asarray(batch.inputs), np.asarray(batch.tokens)
    real = tokens[:, :, 0] > 0
    return features[np.nonzero(real)[0]], tokens[real].astype(np.int64)


def _use_one_core() -> None:
    """Keeps this process to one core, which TensorFlow and PyTorch then take for all there is."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


if __name__ == "__main__":
    _use_one_core()
    print(json.dumps(measure(json.loads(sys.argv[1]))))
