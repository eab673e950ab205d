"""The benchmark of exports: its rows by hand, and the whole of it at a toy size."""

import json
from pathlib import Path

import pytest

from imgcap.cli import command
from tests.bench.__main__ import COMMAND
from tests.bench.export import models, rows
from tests.bench.export.models import ENCODER
from tests.bench.export.rows import DEFAULT, NOTEBOOK, RECOMMENDED, Case
from tests.bench.table import Row


def test_encoders_by_hand() -> None:
    medians = {
        Case("none", ENCODER, DEFAULT, 16): 0.048,
        Case("none", ENCODER, RECOMMENDED, 16): 0.080,
        Case("cpu", ENCODER, RECOMMENDED, 16): 0.032,
        Case("cpu", ENCODER, DEFAULT, 16): 0.024,
        Case("cpu", "decode", RECOMMENDED, 16): 1.0,
    }
    assert rows.encoder_rows(medians) == [
        Row(
            "encoder, cpu against none, batch 16, recommended threads",
            1.5,
            "≥ 1.4",
            "32.0 against 48.0 ms an image",
        ),
        Row(
            "encoder, cpu against none, batch 16, default threads",
            2.0,
            "",
            "24.0 against 48.0 ms an image",
        ),
    ]


def test_search_by_hand() -> None:
    medians = {
        Case("none", ENCODER, DEFAULT, 16): 0.050,
        Case("none", "decode", DEFAULT, 16): 0.055,
        Case("none", "greedy", DEFAULT, 1): 0.100,
        Case("cpu_bf16", ENCODER, DEFAULT, 16): 9.0,
        Case("cpu_bf16", ENCODER, RECOMMENDED, 16): 0.010,
        Case("cpu_bf16", "decode", RECOMMENDED, 16): 0.015,
        Case(NOTEBOOK, "greedy", DEFAULT, 1): 1.2,
    }
    assert [(row.ratio, row.target) for row in rows.decode_rows(medians)] == [
        (pytest.approx(1.1), "≤ 1.2"),
        (pytest.approx(1.5), "≤ 1.6"),
    ]
    assert [(row.ratio, row.target) for row in rows.greedy_rows(medians)] == [
        (pytest.approx(12), "≥ 10")
    ]


def test_the_whole_at_a_toy_size(
    encoder_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(models, "VOCABULARY_SIZE", 20)
    flags = [
        f"--encoder={encoder_file}",
        "--image_size=32",
        "--repetitions=1",
        f"--output={tmp_path / 'rows.json'}",
    ]
    assert command.main(COMMAND, ["bench", "--part=export", *flags]) == 0
    found = json.loads((tmp_path / "rows.json").read_text())["export"]["rows"]
    kinds = ("none", "cpu", "cpu_bf16")
    assert [row["name"] for row in found if "openvino" not in row["name"]] == [
        *(
            f"encoder, {kind} against none, batch {batch}, {threads} threads"
            for kind in kinds[1:]
            for threads in ("default", "recommended")
            for batch in (1, 16)
        ),
        *(f"decode (beam 3) ÷ encoder, {kind}, batch 16" for kind in ("none", "cpu_bf16")),
        *(f"greedy, {kind} against predict() per word, batch 1" for kind in ("none", "cpu_bf16")),
        *(f"size on disk ÷ weights, {kind}" for kind in kinds),
    ]
    assert all(row["ratio"] > 0 and row["note"] for row in found)
    assert capsys.readouterr().out.count("\n") >= len(found) + 1
