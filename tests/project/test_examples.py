"""The tour and the examples of the Python API: stored as they should be, and each of them runs."""

import ast
import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_server import answer_for, numbers, serving
from tests.support.paths import ROOT

TOUR = ROOT / "docs" / "tour.ipynb"
API = ROOT / "docs" / "api"
SERVER = '"localhost:8500"'


def cells(kind: str) -> list[dict[str, Any]]:
    notebook = json.loads(TOUR.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def test_the_tour_is_stored_without_outputs() -> None:
    notebook = json.loads(TOUR.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in cells("code"):
        assert cell["outputs"] == [] and cell["execution_count"] is None, cell["id"]
    assert not re.search(r"/(home|root|tmp|work|Users)/", TOUR.read_text(encoding="utf-8"))


def test_python_of_the_tour_compiles_and_finds_what_it_imports() -> None:
    shell = 0
    for cell in cells("code"):
        source = "".join(cell["source"])
        if source.startswith("%%bash\n"):
            shell += 1
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and node.module and "IPython" not in node.module:
                module = importlib.import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"
    assert shell >= 5


def test_pictures_of_the_tour_are_described() -> None:
    for cell in cells("code"):
        if re.search(r"^(show|Image|draw_heatmap)\(", "".join(cell["source"]), re.M):
            assert len(cell["metadata"]["mystnb"]["image"]["alt"]) > 40, cell["id"]


def run_examples(page: str, **changes: str) -> str:
    """Runs the Python blocks of a page one after the other, in one namespace."""
    text = (API / f"{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.M | re.DOTALL)
    assert blocks
    for old, new in changes.items():
        blocks = [block.replace(old, new) for block in blocks]
    namespace: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, page, "exec"), namespace)
    return text


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raw_dir: Path) -> Path:
    """An empty current folder, with one photograph in it and two in a folder."""
    photos = sorted((raw_dir / "Images").iterdir())
    (tmp_path / "photo.jpg").write_bytes(photos[0].read_bytes())
    (tmp_path / "holiday").mkdir()
    for photo in photos[1:3]:
        (tmp_path / "holiday" / photo.name).write_bytes(photo.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_scores_and_settings(capsys: pytest.CaptureFixture[str]) -> None:
    run_examples("evaluation")
    cider, bleu_4, low, high = map(float, re.findall(r"[\d.]+", capsys.readouterr().out))
    assert 0 < low <= cider <= high and bleu_4 >= 0
    run_examples("settings")
    assert capsys.readouterr().out == "5\n"


def test_prepared_data(here: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "data").symlink_to(data_dir)
    run_examples("data")
    head, *lines = capsys.readouterr().out.splitlines()
    assert "'train': 32" in head
    for captions, words in zip(lines[::2], lines[1::2], strict=True):
        # The caption as people wrote it, and the one that its numbers stand for.
        written = captions.partition(" ")[2].lower().removesuffix(" .")
        assert words.rpartition("] ")[2] == written


def test_without_a_server(here: Path, workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from imgcap.data.image import decode
    from imgcap.errors import RunError
    from imgcap.run import load_captioner
    from imgcap.run.confidence_file import load_confidence

    with pytest.raises(RunError, match="no captioner is called pretrained:nothing"):
        load_captioner("pretrained:nothing")
    captioner, config = load_captioner(str(workdir))
    image = decode((here / "photo.jpg").read_bytes(), config.model.image_size)[None]
    found = captioner.caption_features(captioner.encoder(image), config.decode)
    caption = captioner.to_text(found.tokens)[0, 0].numpy().decode()
    run_examples("local", **{"LocalCaptioner()": f"LocalCaptioner({str(workdir)!r})"})
    text, confidence = capsys.readouterr().out.rstrip("\n").rsplit(" ", 1)
    assert text == caption
    # Another test may have calibrated the run that all share.
    calibrated = load_confidence(workdir) is not None
    assert (0 <= float(confidence) <= 1) if calibrated else confidence == "None"


def test_asking_a_server(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = answer_for("a dog runs", confidence=(0.75, 0.5))
    answer.outputs["attention"].CopyFrom(numbers([0.25, 0.5, 0.125, 0.125] * 6, 1, 2, 3, 4))
    with serving(lambda request, context: answer) as target:
        run_examples("client", **{SERVER: repr(target)})
    first, *many = capsys.readouterr().out.split("holiday/", 1)
    assert first.split("\n")[:3] == ["a dog runs", "0.75", "second"]
    assert len(re.findall("jpg a dog runs\n", many[0])) == 2
    assert (here / "heatmap.png").read_bytes().startswith(b"\x89PNG")
