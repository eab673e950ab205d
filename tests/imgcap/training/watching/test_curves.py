"""Table and curves of a run whose lines are written by hand."""

import json
from pathlib import Path

import pytest
from PIL import Image

from imgcap.chart import COLOURS, HEIGHT, WIDTH
from imgcap.training.watching.curves import Epoch, make_table, read_metrics, summarise, write_curves

LINES = [
    {"step": 2, "epoch": 1, "loss": 4.0},
    {"step": 3, "epoch": 1, "loss": 1.0},  # one step alone: the epoch's mean is (2 × 4 + 1) / 3
    {"step": 3, "epoch": 1, "dev_cider": 30.0, "dev_bleu_4": 10.0, "seconds": 61.4},
    {"step": 5, "epoch": 2, "loss": 2.0},
    {"step": 5, "epoch": 2, "dev_cider": 20.0, "dev_bleu_4": 12.0, "seconds": 59.6},
]


def test_epochs_and_their_table() -> None:
    epochs = summarise(LINES)
    assert epochs == [Epoch(1, 3.0, 30.0, 10.0, 61.4), Epoch(2, 2.0, 20.0, 12.0, 59.6)]
    assert [line.split() for line in make_table(epochs).splitlines()] == [
        ["epoch", "loss", "dev", "CIDEr", "BLEU-4", "seconds"],
        ["1", "3.000", "30.0", "10.0", "61", "best"],
        ["2", "2.000", "20.0", "12.0", "60"],
    ]


def test_a_run_without_an_epoch() -> None:
    assert make_table(summarise(LINES[:2])).count("\n") == 0


def test_curves_show_loss_and_scores(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    write_curves(tmp_path / "curves.png", read_metrics(tmp_path / "metrics.jsonl"))
    colours = [tuple(bytes.fromhex(colour[1:])) for colour in COLOURS[:2]]
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (WIDTH, 2 * HEIGHT)
        halves = [
            picture.crop((0, top, WIDTH, top + HEIGHT)).getcolors(100_000) for top in (0, HEIGHT)
        ]
    found = [{colour for _, colour in half} & set(colours) for half in halves]
    assert found == [{colours[0]}, set(colours)]


def test_a_finished_run_has_both(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Image.open(workdir / "curves.png") as picture:
        assert picture.size == (WIDTH, 2 * HEIGHT)
    epochs = summarise(read_metrics(workdir / "metrics.jsonl"))
    assert [epoch.number for epoch in epochs] == [1, 2]
    assert epochs[1].loss < epochs[0].loss
    assert all(epoch.seconds > 0 for epoch in epochs)
