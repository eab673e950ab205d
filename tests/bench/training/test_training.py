"""The benchmark of training: its parts by hand, and the whole of it at a toy size."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from imgcap.cli import command
from imgcap.config import ModelConfig
from imgcap.data.batches import Batch
from imgcap.model.decoders import make_decoder
from tests.bench.__main__ import COMMAND
from tests.bench.notebook import Caption, NotebookDecoder
from tests.bench.training import memory, peer, photos, reading, stored, workload

TARGETS = {
    "image pipeline against decoding and resizing alone": "≥ 0.90",
    "prepare against reading and decoding alone": "≥ 0.80",
    "epoch on stored features against the same batches in memory": "≥ 0.95",
    "epoch on stored features against a notebook's rows of one word (float32)": "≥ 20",
    "step on stored features, mixed_bfloat16 against float32": "≥ 1.3",
    "share of the reward in a self-critical step": "≤ 0.25",
    "training step of attention against PyTorch's, eager, float32": "≥ 1.8",
    "training step of attention against PyTorch's, eager, mixed_bfloat16": "≥ 1.6",
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
    # Installed or not: a test of its own compares the two.
    monkeypatch.setattr(peer, "is_installed", lambda: False)
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
    not_run = [row for row in rows if row["ratio"] is None]
    assert [(row["reached"], row["note"]) for row in not_run] == [
        (None, f"not run: {peer.INSTALL}")
    ] * 2
    assert all("PyTorch" in row["name"] for row in not_run)
    assert all(
        row["ratio"] > 0 and " against " in row["note"] or " of " in row["note"]
        for row in rows
        if row not in not_run
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


def test_captions_of_a_batch_have_a_row_each() -> None:
    features = tf.constant([[[1.0]], [[2.0]], [[3.0]]], tf.float16)
    tokens = tf.constant([[[1, 5, 2], [1, 2, 0]], [[1, 6, 2], [0, 0, 0]], [[0, 0, 0]] * 2])
    found = peer.captions_of(Batch(features, tokens))
    assert found[0].tolist() == [[[1]], [[1]], [[2]]]
    assert found[1].tolist() == [[1, 5, 2], [1, 2, 0], [1, 6, 2]]


def test_rows_of_the_peer_by_hand() -> None:
    row, half = peer.rows_of(
        {
            "float32": {"imgcap": 150.0, "PyTorch": 75.0},
            "mixed_bfloat16": {"imgcap": 150.0, "PyTorch": 100.0},
        }
    )
    assert (row.ratio, half.ratio) == (2.0, 1.5)
    assert (row.reached(), half.reached()) == (True, False)
    assert row.note == "150 against 75 captions/s, 64 a step, one core"


def test_pytorch_does_the_same_work() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is of the extra `bench` alone")
    from tests.bench.training.pytorch_decoder import Attention, Sizes, make_step

    # Threads that wait for each other take minutes if the machine is busy.
    torch.set_num_threads(1)
    model = ModelConfig(decoder="attention", units=7, embedding_dim=7, attention_units=7)
    ours = make_decoder(model, 11, (4, 6))
    theirs = Attention(Sizes(words=11, channels=6, units=7)).eval()
    inside = {
        "inputs": ours.lstm.inputs,
        "recurrent": ours.lstm.recurrent,
        "query": ours.score.query,
        "energy": ours.score.energy,
    }
    own, copied = {"logits": "to_logits"}, 0
    with torch.no_grad():
        for name, layer in theirs.named_children():
            weights = (inside.get(name) or getattr(ours, own.get(name, name))).get_weights()
            for value, parameter in zip(weights, layer.parameters(), strict=True):
                matrix = value.ndim == 2 and name != "embedding"
                parameter.copy_(torch.tensor(value.T if matrix else value))
                copied += 1
    assert copied == len(ours.variables)
    rng = np.random.default_rng(0)
    features = rng.normal(size=[3, 4, 6]).astype(np.float32)
    tokens = rng.integers(4, 11, size=[3, 6])
    forced = ours.teacher_forcing(tf.constant(tokens[:, :-1], tf.int32), ours.begin(features))
    batch = torch.tensor(features), torch.tensor(tokens)
    logits = theirs(batch[0], batch[1][:, :-1])
    np.testing.assert_allclose(logits.detach(), forced.logits, atol=1e-5)
    # In `eval`: dropout would hide whether so few steps on so few units learn.
    step = make_step(theirs, half=False)
    losses = [float(step(*batch)) for _ in range(30)]
    assert losses[-1] < losses[0]
