"""The road as a stranger walks it: drawn photos, the console commands, a server process, captions
over gRPC.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgcap.cli import demo
from imgcap.cli.demo.report import report
from imgcap.errors import ImgcapError
from imgcap.host.programs import call_command


def program(name: str) -> str:
    found = Path(sys.executable).with_name(name)
    if not found.exists():
        pytest.skip(f"{found} is not installed: pip install --editable '.[test]'")
    return str(found)


@pytest.fixture(scope="module")
def port(workdir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    models = tmp_path_factory.mktemp("models") / "imgcap"
    export = [program("imgcap-export"), f"--workdir={workdir}", f"--output_dir={models}"]
    subprocess.run(export, check=True)
    number = demo.free_port()
    server = subprocess.Popen(
        [program("imgcap-serve"), f"--model_base_path={models}", f"--port={number}"]
    )
    try:
        demo.wait_until_open(number, server)
        yield number
    finally:
        server.terminate()
        assert server.wait(60) == 0


def test_served_captions_are_those_of_evaluation(
    port: int, workdir: Path, data_dir: Path, raw_dir: Path
) -> None:
    evaluate = [
        program("imgcap-evaluate"),
        f"--workdir={workdir}",
        f"--data_dir={data_dir}",
        "--split=test",
    ]
    subprocess.run(evaluate, check=True)
    rows = [json.loads(line) for line in (workdir / "captions_test.jsonl").read_text().splitlines()]
    images = [str(raw_dir / "Images" / row["image"]) for row in rows]
    ask = [program("imgcap-caption"), *images, f"--server=localhost:{port}", "--json"]
    answers = json.loads(subprocess.run(ask, check=True, stdout=subprocess.PIPE, text=True).stdout)
    assert [answer["image"] for answer in answers] == images
    assert [answer["caption"] for answer in answers] == [row["caption"] for row in rows]
    assert all(not answer["error"] and answer["score"] < 0 for answer in answers)


def test_a_file_that_is_no_image(port: int, tmp_path: Path, raw_dir: Path) -> None:
    (tmp_path / "notes.jpg").write_text("no image")
    good = next((raw_dir / "Images").iterdir())
    ask = [
        program("imgcap-caption"),
        str(tmp_path / "notes.jpg"),
        str(good),
        f"--server=localhost:{port}",
        "--json",
    ]
    asked = subprocess.run(ask, check=False, capture_output=True, text=True)
    bad, fine = json.loads(asked.stdout)
    assert asked.returncode == 1
    assert "not an image" in bad["error"] and fine["caption"] and not fine["error"]


def test_the_demo_leaves_other_folders_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("three years")
    assert demo.main(["imgcap-demo", f"--demo_dir={tmp_path}"]) == 1
    assert "exists and is no earlier demo: give another --demo_dir" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text() == "three years"


def test_the_demo_judges_and_draws(tmp_path: Path, raw_dir: Path) -> None:
    (tmp_path / "run").mkdir()
    names = ["scene_0009.jpg", "scene_0019.jpg"]
    references = {name: [f"A red ring number {name} ."] for name in names}
    lines = [json.dumps({"image": name, "references": references[name]}) for name in names]
    (tmp_path / "run" / "captions_test.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "run" / "scores_test.json").write_text('{"cider": 1.0, "bleu_4": 2.0}')
    answers = [
        {"image": str(raw_dir / "Images" / name), "caption": caption, "score": -1.0, "error": ""}
        for name, caption in zip(names, ["a red ring", "a blue ring"], strict=True)
    ]
    assert report(tmp_path, answers) is False
    assert report(tmp_path, answers[:1]) is True
    assert (tmp_path / "captions.png").stat().st_size > 1000


def test_a_command_that_fails_ends_the_demo() -> None:
    with pytest.raises(ImgcapError, match="imgcap-prepare ended with status 2"):
        call_command("imgcap-prepare", "--no_such_flag")
