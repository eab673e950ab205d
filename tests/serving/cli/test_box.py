"""The captioner in the box on a server: exported once for a version and a content, even by two."""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imgcap.errors import RunError, ServingError
from imgcap.run import pretrained
from serving.cli import box, serve
from serving.cli.box import export_once

EXPORT = """\
#!{python}
import pathlib, sys, time
flags = dict(word[2:].split("=", 1) for word in sys.argv[1:])
time.sleep(0.3)
if "broken" in pathlib.Path(flags["workdir"], "vocab.txt").read_text():
    sys.exit("imgcap-export: error: broken")
version = pathlib.Path(flags["output_dir"], "1")
version.mkdir(parents=True)
(version / "manifest.json").write_text("{{}}")
with open({log!r}, "a") as log:
    print(flags["workdir"], file=log)
"""


@pytest.fixture
def exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which each call of a stand-in for imgcap-export leaves a line."""
    log, program = tmp_path / "log.txt", tmp_path / "imgcap-export"
    program.write_text(EXPORT.format(python=sys.executable, log=str(log)))
    program.chmod(0o755)
    run = tmp_path / "pretrained" / "flickr8k"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    (run / "vocab.txt").write_text("words")
    monkeypatch.setattr(pretrained, "pretrained_folder", lambda: run.parent)
    monkeypatch.setattr(box, "user_cache_path", lambda name: tmp_path / "cache" / name)
    monkeypatch.setattr(box, "find_program", lambda name: str(program))
    log.touch()
    return log


def test_exported_once_and_again_when_something_changed(
    exports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    run = tmp_path / "pretrained" / "flickr8k"
    first = export_once()
    assert first.is_relative_to(tmp_path / "cache" / "imgcap" / "exports")
    assert (first / "1" / "manifest.json").is_file()
    said = f"exporting the captioner in the box (pretrained:flickr8k) once into {first}"
    assert said in capsys.readouterr().out
    assert export_once() == first and capsys.readouterr().out == ""
    (run / "vocab.txt").write_text("other")
    second = export_once()
    monkeypatch.setattr(box, "__version__", "99")
    third = export_once()
    assert len({first, second, third}) == 3 and "-99-" in third.name
    assert exports.read_text().splitlines() == [str(run)] * 3
    assert [path.name for path in first.parent.glob(".*")] == [".lock"]


def test_two_starts_at_once(exports: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: export_once(), range(2))
    assert first == second and (first / "1").is_dir()
    assert len(exports.read_text().splitlines()) == 1


def test_what_fails_leaves_nothing(exports: Path, tmp_path: Path) -> None:
    (tmp_path / "pretrained" / "flickr8k" / "vocab.txt").write_text("broken")
    with pytest.raises(ServingError, match="imgcap-export ended with status 1"):
        export_once()
    folder = tmp_path / "cache" / "imgcap" / "exports"
    assert [path.name for path in folder.iterdir()] == [".lock"]
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("no folder")
    with pytest.raises(ServingError, match="can't be written .Not a directory.: free the disk"):
        export_once()
    shutil.rmtree(tmp_path / "pretrained" / "flickr8k")
    with pytest.raises(RunError, match="this installation comes with none"):
        export_once()


def test_served_if_no_model_is_named(exports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = []
    monkeypatch.setattr(serve, "_serve_embedded", lambda config: served.append(config) or 0)
    assert serve.main(["imgcap-serve", "--embedded"]) == 0
    assert served[0].model_base_path == str(export_once())


def test_a_search_for_it_needs_no_tensorflow() -> None:
    code = "import sys, serving.cli.box; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
