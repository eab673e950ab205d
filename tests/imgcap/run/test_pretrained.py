"""Captioners of the package by name: found, only read, and refused where they would be changed."""

import json
import shutil
from pathlib import Path

import pytest

from export import cli
from imgcap.cli import evaluate, train
from imgcap.cli.runs import average, compare, pack
from imgcap.errors import RunError
from imgcap.run import pretrained
from imgcap.run.pretrained import pretrained_names, resolve_run

NAME = "pretrained:flickr8k"


@pytest.fixture
def box(workdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A captioner of the package, which no command may change; the test runs in an empty folder."""
    folder = tmp_path / "pretrained"
    shutil.copytree(workdir, folder / "flickr8k")
    for path in folder.glob("flickr8k/*.jsonl"):
        path.unlink()
    monkeypatch.setattr(pretrained, "pretrained_folder", lambda: folder)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return folder / "flickr8k"


def content(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_names_and_paths(box: Path) -> None:
    assert resolve_run(NAME) == box
    assert pretrained_names() == [NAME]
    assert resolve_run("runs/first") == Path("runs/first")
    with pytest.raises(
        RunError, match="no captioner is called pretrained:coco: there are pretrained:flickr8k"
    ):
        resolve_run("pretrained:coco")
    shutil.rmtree(box)
    with pytest.raises(RunError, match="pretrained:flickr8k: this installation comes with none"):
        resolve_run(NAME)


def test_results_are_written_where_the_user_is(
    box: Path, workdir: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(box)
    split = [f"--data_dir={data_dir}", "--split=test"]
    assert evaluate.main(["e", f"--workdir={NAME}", *split]) == 0
    assert "wrote pretrained-flickr8k/scores_test.json" in capsys.readouterr().out
    assert json.loads(Path("pretrained-flickr8k/scores_test.json").read_text())["run"] == "flickr8k"
    assert content(box) == before
    assert evaluate.main(["e", f"--workdir={workdir}", *split]) == 0
    assert compare.main(["c", str(workdir), NAME]) == 0
    assert f"{NAME}" in capsys.readouterr().out


def test_it_is_a_start_for_others(box: Path, train_flags: list[str]) -> None:
    before = content(box)
    assert train.main(["t", *train_flags, "--workdir=tuned", f"--finetune_from={NAME}"]) == 0
    assert json.loads(Path("tuned/config.json").read_text())["train"]["finetune_from"] == NAME
    assert average.main(["a", NAME, "--workdir=mean"]) == 0
    assert pack.main(["p", NAME, "--output_dir=packed"]) == 0
    export = [f"--workdir={NAME}", "--output_dir=models", "--nocheck"]
    assert cli.main(["imgcap-export", *export]) == 0
    assert content(box) == before


@pytest.mark.parametrize(
    "call",
    [
        (train.main, "--workdir", ["--data_dir=data", f"--workdir={NAME}"]),
        (average.main, "--workdir", ["run", f"--workdir={NAME}"]),
        (pack.main, "--output_dir", ["run", f"--output_dir={NAME}"]),
        (evaluate.main, "--sweep", ["--data_dir=data", f"--workdir={NAME}", "--sweep"]),
    ],
    ids=["train", "average", "pack", "sweep"],
)
def test_what_would_change_it_is_refused(
    box: Path, capsys: pytest.CaptureFixture[str], call: tuple
) -> None:
    main, flag, flags = call
    assert main(["command", *flags]) == 2
    assert (
        f"{flag} would change {NAME}, which is a part of the package: copy its folder and give the "
        f"copy (cp -r {box} COPY)"
    ) in capsys.readouterr().err
