"""The benchmark of training: its parts by hand, and the whole of it at a toy size."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from imgcap.cli import command
from imgcap.data.batches import Batch
from tests.bench.__main__ import COMMAND
from tests.bench.notebook import Caption, NotebookDecoder
from tests.bench.training import memory, photos, reading, stored, workload

TARGETS = {
    "image pipeline against decoding and resizing alone": "≥ 0.90",
    "prepare against reading and decoding alone": "≥ 0.80",
    "epoch on stored features against the same batches in memory": "≥ 0.95",
    "epoch on stored features against a notebook's rows of one word (float32)": "≥ 20",
    "step on stored features, mixed_bfloat16 against float32": "≥ 1.3",
    "share of the reward in a self-critical step": "≤ 0.25",
    "memory of training, 10 times the data": "≤ 1.1",
    "fine-tuning on images against a constant batch": "≥ 0.95",
}


@pytest.mark.parametrize("drawn", [False, True])
def test_the_whole_at_a_toy_size(
    drawn: bool,
    data_dir: Path,
    encoder_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # As many images as an epoch needs to outweigh its start take minutes to decode.
    monkeypatch.setattr(reading, "READ_AT_LEAST", 100)
    if not drawn:
        # A process each, which the other case starts; here they would only take their time.
        monkeypatch.setattr(memory, "peak_bytes_of_a_process", lambda work, times: times)
    flags = [
        "--images=24",
        "--captions=32",
        "--units=8",
        "--batch_size=8",
        "--image_size=32",
        "--repetitions=1",
    ]
    source = [] if drawn else [f"--data_dir={data_dir}"]
    output = tmp_path / "bench.json"
    names = [*flags, *source, f"--encoder={encoder_file}", f"--output={output}"]
    assert command.main(COMMAND, ["bench", "--part=training", *names]) == 0
    rows = json.loads(output.read_text())["training"]["rows"]
    assert {row["name"]: row["target"] for row in rows} == TARGETS
    assert all(
        row["ratio"] > 0 and " against " in row["note"] or " of " in row["note"] for row in rows
    )
    assert (
        drawn
        or {row["name"]: row["ratio"] for row in rows}["memory of training, 10 times the data"]
        == 10
    )
    printed = capsys.readouterr().out
    assert all(name in printed for name in TARGETS)


def test_ratios_by_hand() -> None:
    rows = stored.epoch_rows_of(
        {"read": 900.0, "held": 1000.0, "half": 1500.0, "full": 1000.0, "notebook": 30.0}, 7
    )
    assert [row.ratio for row in rows] == [0.9, 30.0, 1.5]
    assert [row.reached() for row in rows] == [False, True, True]
    assert rows[0].note == "900 against 1000 captions/s, 7 steps a turn"


def test_a_notebook_unrolls_captions() -> None:
    training = NotebookDecoder(channels=2, units=3, vocabulary_size=6, longest=4)
    captions = [
        Caption(np.array([1.0, 2.0]), [1, 5, 2]),
        Caption(np.array([3.0, 4.0]), [1, 4, 5, 2]),
    ]
    (((features, read), targets),) = training.batches(captions, 2)
    assert features.tolist() == [[1, 2]] * 2 + [[3, 4]] * 3
    assert read.tolist() == [[0, 0, 0, 1], [0, 0, 1, 5], [0, 0, 0, 1], [0, 0, 1, 4], [0, 1, 4, 5]]
    assert targets.argmax(axis=1).tolist() == [5, 2, 4, 5, 2] and (targets.sum(axis=1) == 1).all()
    assert len(list(training.batches(captions, 1))) == 2


def test_captions_from_all_over_an_epoch() -> None:
    batches = [
        Batch(tf.constant([[[number]]], tf.float16), tf.constant([[[1, number, 2, 0]]], tf.int32))
        for number in range(4, 10)
    ]
    found = stored.some_captions(batches, 3)
    assert [caption.tokens for caption in found] == [[1, 4, 2], [1, 6, 2], [1, 8, 2]]
    assert [caption.features.tolist() for caption in found] == [[4], [6], [8]]


def test_drawn_photos_are_like_photos(tmp_path: Path) -> None:
    photos.draw_photos(tmp_path, 4, seed=0)
    paths = sorted((tmp_path / "Images").iterdir())
    for path in paths:
        with Image.open(path) as photo:
            assert photo.size == (500, 375)
    assert len(paths) == 4 and all(30_000 < path.stat().st_size < 120_000 for path in paths)
    rows = (tmp_path / "captions.txt").read_text().splitlines()
    assert rows[0] == "image,caption" and len(rows) == 1 + 4 * 5


def test_shards_are_repeated() -> None:
    paths = [Path("a"), Path("b")]
    assert workload.repeat_shards(paths, 10, 25) == [Path("a"), Path("b")] * 2 + [Path("a")]
    assert workload.repeat_shards(paths, 10, 1) == [Path("a")]


def test_peak_memory() -> None:
    assert (
        memory.peak_bytes(
            "Name:\tpython\nVmPeak:\t  9000 kB\nVmHWM:\t  2048 kB\nVmRSS:\t 1024 kB\n"
        )
        == 2 * 1024**2
    )


def test_real_data_is_taken_as_it_is(data_dir: Path, raw_dir: Path, tmp_path: Path) -> None:
    photos.copy_photos(tmp_path, data_dir, 5)
    copies = list((tmp_path / "Images").iterdir())
    assert len(copies) == 5
    assert all(
        copy.read_bytes() == (raw_dir / "Images" / copy.name).read_bytes() for copy in copies
    )
    rows = (tmp_path / "captions.txt").read_text().splitlines()[1:]
    known = (raw_dir / "captions.txt").read_text().replace('"', "").splitlines()
    assert len(rows) == 25 and set(rows) <= set(known)
