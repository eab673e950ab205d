"""Runs side by side: known differences are found, chance is not taken for one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from imgcap.cli import command
from imgcap.cli.runs.compare import main as compare_main
from imgcap.errors import DataError
from imgcap.evaluation.compare import compare
from imgcap.evaluation.scores import NAMES, score_captions

COLOURS, SHAPES = ("red", "green", "blue", "yellow"), ("square", "circle", "ring", "star")


def references(images: int) -> dict[str, list[str]]:
    made = {}
    for number in range(images):
        colour, shape = COLOURS[number % 4], SHAPES[number // 4 % 4]
        made[f"{number:03d}.jpg"] = [
            f"a {colour} {shape} on a table",
            f"there is a {colour} {shape} here",
        ]
    return made


def captions(truth: dict[str, list[str]], wrong: float, seed: int) -> dict[str, str]:
    rng = np.random.default_rng(seed)
    return {
        image: "a dog runs on a beach" if rng.random() < wrong else group[0]
        for image, group in truth.items()
    }


def test_a_worse_run_is_told_from_a_better_one() -> None:
    truth = references(80)
    runs = {"good": captions(truth, 0.1, 1), "bad": captions(truth, 0.5, 2)}
    found = compare(runs, truth)
    for name in runs:
        scores = score_captions(runs[name], truth, bootstrap_samples=0)
        assert {score: found[name][score].score for score in NAMES} == {
            score: scores[score] for score in NAMES
        }
    worse = found["bad"]["cider"]
    assert worse.high < 0 and worse.low < worse.change < worse.high and worse.p_value < 0.01
    assert worse.change == pytest.approx(worse.score - found["good"]["cider"].score)


def test_chance_is_not_taken_for_skill() -> None:
    truth = references(80)
    runs = {"one": captions(truth, 0.3, 1), "other": captions(truth, 0.3, 8)}
    changed = compare(runs, truth)["other"]["cider"]
    assert changed.low < 0 < changed.high and changed.p_value > 0.05


def test_pairing_sees_a_small_steady_gain() -> None:
    """Every eighth image better and none worse: certain by pairs, lost in the spread of the
    images.
    """
    truth = references(240)
    base = captions(truth, 0.5, 1)
    better = {
        image: truth[image][0] if int(image[:3]) % 8 == 0 else text for image, text in base.items()
    }
    changed = compare({"base": base, "better": better}, truth)["better"]["cider"]
    assert changed.change > 0 and changed.p_value < 0.05
    apart = [score_captions(run, truth)["intervals"]["cider"] for run in (base, better)]
    assert apart[0][1] > apart[1][0]


def test_a_run_against_itself() -> None:
    truth = references(20)
    run = captions(truth, 0.3, 1)
    same = compare({"a": run, "b": run}, truth)["b"]["bleu_4"]
    assert (same.change, same.low, same.high, same.p_value) == (0, 0, 0, 1)


def test_one_run_is_refused() -> None:
    with pytest.raises(DataError, match="name at least two"):
        compare({"a": {}}, {})


def write_run(workdir: Path, run: dict[str, str], truth: dict[str, list[str]]) -> str:
    workdir.mkdir()
    lines = [
        {"image": image, "caption": run[image], "references": truth[image], "cider": 0}
        for image in run
    ]
    (workdir / "captions_test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(workdir)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = references(80)
    good = write_run(tmp_path / "good", captions(truth, 0.1, 1), truth)
    bad = write_run(tmp_path / "bad", captions(truth, 0.5, 2), truth)
    assert compare_main(["imgcap-compare", good, bad]) == 0
    printed = capsys.readouterr().out
    assert "80 images" in printed and printed.count(bad) == len(NAMES) and "p 0.00" in printed


def test_a_reader_that_has_enough_ends_it_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    program = (
        "import sys; from imgcap.cli.runs.compare import main; sys.exit(main(['imgcap-compare', "
        "'--help']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (command.PIPE_STATUS, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_output_without_room_is_one_line() -> None:
    program = (
        "import sys; from imgcap.cli.runs.compare import main; sys.exit(main(['imgcap-compare', "
        "'--help']))"
    )
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert (
        done.stderr
        == "imgcap-compare: error: can't write (No space left on device); free space, then run "
        "again\n"
    )


def test_error_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = references(8)
    run = write_run(tmp_path / "run", captions(truth, 0, 1), truth)
    other = write_run(tmp_path / "other", captions(references(4), 0, 1), references(4))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "captions_test.jsonl").write_text('{"image": "a"')
    characters = write_run(tmp_path / "characters", captions(truth, 0, 1), truth)
    (Path(characters) / "scores_test.json").write_text('{"tokenizer": "character"}')
    for arguments, status, message in [
        ([run], 2, "at least two run directories"),
        ([run, run], 2, "named twice"),
        ([run, str(tmp_path / "none")], 1, "captions_test.jsonl can't be read"),
        ([run, str(tmp_path / "broken")], 1, "is damaged: run imgcap-evaluate"),
        ([run, other], 1, "was scored on other images"),
        ([run, characters], 1, "scored by the tokenizer character, "),
        ([run, other, "--split=nowhere"], 2, "split"),
    ]:
        assert compare_main(["imgcap-compare", *arguments]) == status
        assert message in capsys.readouterr().err
