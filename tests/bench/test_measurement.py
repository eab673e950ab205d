"""The benchmark of exports: its rows by hand, and the whole of it at a toy size."""

import json
from pathlib import Path

import pytest
import tensorflow as tf

from imgcap.cli import command
from imgcap.errors import RunError
from tests.bench import export, export_rows
from tests.bench.export_rows import DEFAULT, ENCODER, NOTEBOOK, RECOMMENDED, Case
from tests.bench.measurement_table import Row
from tests.bench.timer import timing_process


def test_encoders_by_hand() -> None:
    medians = {
        Case("none", ENCODER, DEFAULT, 16): 0.048,
        Case("none", ENCODER, RECOMMENDED, 16): 0.080,
        Case("cpu", ENCODER, RECOMMENDED, 16): 0.032,
        Case("cpu", ENCODER, DEFAULT, 16): 0.024,
        Case("cpu", "decode", RECOMMENDED, 16): 1.0,
    }
    assert export_rows.encoder_rows(medians) == [
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
    assert [(row.ratio, row.target) for row in export_rows.decode_rows(medians)] == [
        (pytest.approx(1.1), "≤ 1.2"),
        (pytest.approx(1.5), "≤ 1.6"),
    ]
    assert [(row.ratio, row.target) for row in export_rows.greedy_rows(medians)] == [
        (pytest.approx(12), "≥ 10")
    ]


def test_the_whole_at_a_toy_size(
    encoder_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(export_rows, "VOCABULARY_SIZE", 20)
    flags = [
        f"--encoder={encoder_file}",
        "--image_size=32",
        "--repetitions=1",
        f"--output={tmp_path / 'rows.json'}",
    ]
    assert command.main(export.COMMAND, ["benchmark", *flags]) == 0
    rows = json.loads((tmp_path / "rows.json").read_text())["export"]["rows"]
    kinds = ("none", "cpu", "cpu_bf16")
    assert [row["name"] for row in rows if "openvino" not in row["name"]] == [
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
    assert all(row["ratio"] > 0 and row["note"] for row in rows)
    assert capsys.readouterr().out.count("\n") >= len(rows) + 1


def test_a_timer_answers_call_by_call(tmp_path: Path) -> None:
    module = tf.Module()
    images = tf.TensorSpec([None, 4, 4, 3], tf.float32, name="images")
    module.encode = tf.function(lambda images: {"features": images + 1.0}, input_signature=[images])
    files = tf.TensorSpec([None], tf.string, name="image_bytes")
    module.decode = tf.function(
        lambda image_bytes: {
            "pixels": tf.map_fn(tf.io.decode_jpeg, image_bytes, fn_output_signature=tf.uint8)
        },
        input_signature=[files],
    )
    signatures = {"encode": module.encode, "decode": module.decode}
    tf.saved_model.save(module, str(tmp_path), signatures=signatures)
    subjects = [f"images:encode:{tmp_path}", f"image_bytes:decode:{tmp_path}"]
    with timing_process(export_rows.TIMER, 1, 2, 4, *subjects) as ask:
        for subject, batch_size in ((0, 1), (0, 16), (1, 2)):
            seconds = ask(subject, batch_size, 3)
            assert len(seconds) == 3 and all(0 < call < 60 for call in seconds)
        with pytest.raises(RunError, match="timing.py .* ended before its answer"):
            ask(7, 1, 3)
