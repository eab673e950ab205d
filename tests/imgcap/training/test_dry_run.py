"""A dry run says what would be, by numbers counted another way, and leaves nothing behind."""

import re
from pathlib import Path

import pytest

from imgcap.cli import train
from imgcap.data import manifest
from imgcap.run.restore import load_captioner


def dry_run(workdir: Path, flags: list[str], *more: str) -> int:
    return train.main(["imgcap-train", f"--workdir={workdir}", *flags, "--dry_run", *more])


def snapshot(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_the_plan_of_a_run_that_exists(
    workdir: Path, data_dir: Path, train_flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(workdir), snapshot(data_dir)
    assert (
        dry_run(
            workdir,
            train_flags,
            "--strategy=mirrored",
            "--accumulate_steps=2",
            "--ema_momentum=0.9",
        )
        == 0
    )
    text = capsys.readouterr().out
    assert (snapshot(workdir), snapshot(data_dir)) == before
    captioner, _ = load_captioner(workdir)
    encoder = captioner.encoder.network.count_params()
    decoder = sum(weights.size for weights in captioner.decoder.get_weights())
    steps = sum(
        1 for line in (workdir / "metrics.jsonl").read_text().splitlines() if '"loss"' in line
    )
    assert f"encoder    {encoder:,} parameters, 0 train (patches.keras)" in text
    assert f"decoder    {decoder:,} parameters, {decoder:,} train (pre_inject)" in text
    assert f"trainable  {decoder:,} of {encoder + decoder:,} parameters" in text
    assert "batch      4 captions a replica, in 2 micro-batches, 8 on 2 replicas" in text
    assert f"steps      {steps // 2:,} an epoch, {steps:,} in all" in text
    assert re.search(
        r"memory     weights 0 MB, gradients and optimizer 0 MB a replica, [\d,]+ MB in all", text
    )
    assert re.search(r"time       [\d.e-]+ s a step, \d+:\d\d in all", text)
    assert "to store them first" in text


def test_the_plan_of_tuning_the_encoder(
    data_dir: Path, train_flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [
        "--nocache_features",
        "--finetune_blocks=1",
        "--batch_size=20",
        "--max_steps=9",
        "--recompute",
    ]
    assert dry_run(tmp_path / "run", train_flags, *flags) == 0
    text = capsys.readouterr().out
    assert not (tmp_path / "run").exists()
    images = manifest.load_manifest(data_dir).images["train"]
    assert "encoder    96 parameters, 96 train" in text
    assert "batch      4 images a replica, 4 on 1 replicas" in text
    assert f"steps      {-(-images // 4)} an epoch, 9 in all" in text
    assert "to store them first" not in text


def test_a_dry_run_finds_what_a_run_would_find(
    train_flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dry_run(tmp_path / "run", train_flags, f"--data_dir={tmp_path}") == 1
    assert "manifest.json is missing" in capsys.readouterr().err
    assert dry_run(tmp_path / "run", train_flags, "--strategy=mirrored", "--batch_size=9") == 2
    assert not (tmp_path / "run").exists()
