"""Evaluation by its command line: each image once, scores by the scorer, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest

from imgcap.cli.evaluate import main as evaluate_main
from imgcap.cli.runs.compare import main as compare_main
from imgcap.evaluation import sweep
from imgcap.evaluation.diversity import describe_diversity
from imgcap.evaluation.report.result_files import find_evaluation
from imgcap.evaluation.scores import score_captions


def evaluate(workdir: Path, data_dir: Path, *more: str) -> int:
    return evaluate_main(
        ["imgcap-evaluate", f"--workdir={workdir}", f"--data_dir={data_dir}", *more]
    )


def test_what_is_written(workdir: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(workdir, data_dir, "--split=train", "--beam_width=2") == 0
    rows = [
        json.loads(line)
        for line in (workdir / "captions_train_beam_width=2.jsonl").read_text().splitlines()
    ]
    assert len({row["image"] for row in rows}) == len(rows) == 32
    scores = json.loads((workdir / "scores_train_beam_width=2.json").read_text())
    again = score_captions(
        {row["image"]: row["caption"] for row in rows},
        {row["image"]: row["references"] for row in rows},
    )
    for name in ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider"):
        assert scores[name] == again[name]
        low, high = scores["intervals"][name]
        assert low <= scores[name] <= high
    assert scores["split"] == "train" and scores["decode"]["beam_width"] == 2
    assert scores["insight"]["distinct_captions"] == len({row["caption"] for row in rows})
    page = (workdir / "contact_sheet_train_beam_width=2.html").read_text()
    assert rows[0]["image"] in page
    assert "train: 32 images, beam width 2" in capsys.readouterr().out


def test_beam_width_one_is_greedy_and_all_the_same_every_time(
    workdir: Path, data_dir: Path
) -> None:
    found = []
    for _ in range(2):
        assert evaluate(workdir, data_dir, "--split=dev", "--beam_width=1") == 0
        found.append((workdir / "captions_dev_beam_width=1.jsonl").read_text())
    assert found[0] == found[1]


def test_a_run_that_is_none(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(tmp_path, data_dir) == 1
    assert (
        "config.json is missing: give --workdir a directory that imgcap-train wrote"
        in capsys.readouterr().err
    )


def test_a_run_without_a_checkpoint(
    workdir: Path, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(workdir, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    assert evaluate(tmp_path / "run", data_dir) == 1
    assert "holds no checkpoint yet" in capsys.readouterr().err


def test_data_of_another_vocabulary(
    workdir: Path, raw_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from imgcap.cli import prepare

    flags = [f"--raw_dir={raw_dir}", f"--output_dir={tmp_path}", "--min_count=30", "--num_shards=1"]
    assert prepare.main(["imgcap-prepare", *flags]) == 0
    assert evaluate(workdir, tmp_path) == 1
    assert "the run's vocabulary" in capsys.readouterr().err


def test_a_vocabulary_that_was_edited_in_the_run(
    workdir: Path, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(workdir, tmp_path / "run")
    words = (tmp_path / "run" / "vocab.txt").read_text()
    (tmp_path / "run" / "vocab.txt").write_text(words + "zebra\n")
    assert evaluate(tmp_path / "run", data_dir) == 1
    assert "vocab.txt has fingerprint" in capsys.readouterr().err


def test_two_splits_as_one(workdir: Path, data_dir: Path) -> None:
    assert evaluate(workdir, data_dir, "--split=dev+test") == 0
    rows = [
        json.loads(line) for line in (workdir / "captions_dev+test.jsonl").read_text().splitlines()
    ]
    assert len({row["image"] for row in rows}) == len(rows) == 8


def test_sweep_finds_what_export_then_carries(
    workdir: Path,
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    shutil.copytree(workdir, run)
    monkeypatch.setattr(sweep, "BEAM_WIDTHS", (1, 2))
    assert evaluate(run, data_dir, "--sweep") == 0
    rows = json.loads((run / "sweep_dev.json").read_text())["rows"]
    # Greedy search has no use for the length penalty; every other combination stands there once.
    assert (
        len(rows) == 2 + 2 * 3 == len({tuple(row[name] for name in sweep.COLUMNS) for row in rows})
    )
    assert [row["cider"] for row in rows] == sorted((row["cider"] for row in rows), reverse=True)
    assert f"{rows[0]['cider']:.2f}" in capsys.readouterr().out
    assert evaluate(run, data_dir, "--split=dev") == 0
    scores = json.loads(find_evaluation(run, "dev", {}).scores.read_text())
    assert {name: scores["decode"][name] for name in sweep.COLUMNS} == {
        name: rows[0][name] for name in sweep.COLUMNS
    }
    # Features pass float16 in the sweep; a caption may change by it, a score hardly.
    assert scores["cider"] == pytest.approx(rows[0]["cider"], rel=0.05)


def test_sweep_and_decode_options_exclude_each_other(
    workdir: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(workdir, data_dir, "--sweep", "--beam_width=2") == 2
    assert "--sweep tries the decode options itself: drop --beam_width" in capsys.readouterr().err


def test_damaged_choice_of_options(
    workdir: Path, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(workdir, run)
    (run / "decode.json").write_text('{"beam_width": 0, "suppress": []}')
    assert evaluate(run, data_dir) == 1
    assert "decode.json holds no decode options" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "name", "printed"),
    [
        (
            ["--search=sample", "--num_samples=4", "--temperature=1.5", "--sampling_seed=3"],
            "dev_search=sample,num_samples=4,temperature=1.5,sampling_seed=3",
            "dev: 4 images, best of 4 samples, 95 % intervals",
        ),
        (
            ["--search=diverse", "--diversity=4"],
            "dev_search=diverse,diversity=4.0",
            "dev: 4 images, best of 3 diverse captions, 95 % intervals",
        ),
    ],
    ids=["sample", "diverse"],
)
def test_several_captions_an_image(
    flags: list[str],
    name: str,
    printed: str,
    workdir: Path,
    data_dir: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert evaluate(workdir, data_dir, "--split=dev", *flags) == 0
    lines = (workdir / f"captions_{name}.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    scores = json.loads((workdir / f"scores_{name}.json").read_text())
    groups = {row["image"]: [row["caption"], *row.get("others", ())] for row in rows}
    truth = {row["image"]: row["references"] for row in rows}
    assert scores["diversity"] == describe_diversity(groups, truth)
    assert scores["diversity"]["captions"] == max(map(len, groups.values())) > 2
    assert scores["diversity"]["distinct"] > 1
    # What is scored is the caption with the best score of the model, not with the best CIDEr.
    assert (
        scores["cider"]
        == score_captions({row["image"]: row["caption"] for row in rows}, truth)["cider"]
    )
    assert scores["diversity"]["oracle_cider"] >= scores["cider"]
    page = (workdir / f"contact_sheet_{name}.html").read_text()
    assert page.count('<p class="other"') == sum(len(group) - 1 for group in groups.values())
    output = capsys.readouterr().out
    assert printed in output and "captions an image" in output
    assert f"scores_{name}.json" in output


def test_an_option_that_the_search_does_not_read(
    workdir: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(workdir, data_dir, "--temperature=0.5") == 2
    assert "drop it, or give --search=sample" in capsys.readouterr().err


def test_two_evaluations_of_one_run_are_compared(
    workdir: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flags in ([], ["--beam_width=2"]):
        assert evaluate(workdir, data_dir, "--split=dev", *flags) == 0
    capsys.readouterr()
    other = f"{workdir}/captions_dev_beam_width=2.jsonl"
    assert compare_main(["imgcap-compare", str(workdir), other, "--split=dev"]) == 0
    rows = capsys.readouterr().out.splitlines()
    scores = json.loads((workdir / "scores_dev_beam_width=2.json").read_text())
    (row,) = [row for row in rows[rows.index("cider:") :] if row.split()[0] == other]
    assert row.split()[1] == f"{scores['cider']:.2f}"
    flags = ["--split=dev", "--beam_width=2"]
    assert compare_main(["imgcap-compare", str(workdir), other, *flags]) == 2
    assert "named twice" in capsys.readouterr().err
    assert compare_main(["imgcap-compare", str(workdir), other, "--beam_width=7"]) == 1
    error = capsys.readouterr().err
    assert f"imgcap-evaluate --workdir={workdir} --split=test --beam_width=7 (there: " in error
    assert "captions_dev.jsonl, " in error and "captions_dev_beam_width=2.jsonl" in error
