"""The wheel in an empty environment: it holds all that is needed, and runs outside the checkout.

The environment sees the packages of this one and nothing of the checkout. With IMGCAP_FULL_INSTALL
set, it gets all dependencies from the registry instead; with the value `demo` the whole demo runs
in it, too. The value may also be the folder of an environment into which this project was installed
from the registry already, as CI does while a core is idle.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement

from imgcap import __version__
from imgcap.cli.demo import free_port, wait_until_open
from imgcap.data.samples import find_samples
from tests.conftest import IMAGE_SIZE
from tests.support.command_lines import console_scripts
from tests.support.paths import ROOT

pytest.importorskip("setuptools", "77", reason="of the extra `test`, is not installed")

FULL = os.environ.get("IMGCAP_FULL_INSTALL", "")
SOURCES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "configs", "imgcap", "export")


class Installed(NamedTuple):
    """An environment with the wheel.

    Attributes:
        programs: folder of its Python and of the console scripts.
        folder: an empty folder outside the checkout, to run in.
    """

    programs: Path
    folder: Path

    def run(self, name: str, *arguments: str, status: int = 0) -> str:
        """Runs a program of the environment and returns what it printed; checks its status."""
        variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        ended = subprocess.run(
            [self.programs / name, *arguments],
            cwd=self.folder,
            env=variables,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert ended.returncode == status, f"{name} {arguments}: {ended.stdout[-2000:]}"
        return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # A copy: a build leaves folders beside its sources, and takes up what an earlier one left.
    for name in (*SOURCES, "serving"):
        if (ROOT / name).is_dir():
            unmade = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / "source" / name, symlinks=True, ignore=unmade)
        else:
            (folder / "source").mkdir(exist_ok=True)
            shutil.copy(ROOT / name, folder / "source" / name)
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    command = [sys.executable, "-m", "pip", *build, str(folder), str(folder / "source")]
    subprocess.run(command, check=True)
    (found,) = folder.glob("*.whl")
    return found


def requirements(metadata: str) -> set[str]:
    """What a package's metadata says that it needs, with each extra."""
    pairs = (line.partition(": ") for line in metadata.splitlines())
    return {str(Requirement(value)) for name, _, value in pairs if name == "Requires-Dist"}


def wheel_metadata(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return archive.read(name).decode("utf-8")


def installed_metadata(venv: Path) -> str:
    (path,) = venv.glob("lib/python*/site-packages/imgcap_tf-*.dist-info/METADATA")
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    base = tmp_path_factory.mktemp("installed")
    prepared = Path(FULL).is_absolute()
    venv, folder = Path(FULL) if prepared else base / "venv", base / "elsewhere"
    folder.mkdir()
    if not prepared:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    programs = venv / "bin"
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "install", "--quiet"]
    if prepared:
        # What was fetched for the sources is what the wheel asks for, and all is there.
        assert requirements(installed_metadata(venv)) == requirements(wheel_metadata(wheel))
        subprocess.run([*pip, "--no-deps", "--no-index", "--force-reinstall", wheel], check=True)
        subprocess.run([*pip, "--no-index", f"{wheel}[train,app]"], check=True)
    elif FULL:
        subprocess.run([*pip, f"{wheel}[train,app]"], check=True)
    else:
        subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
        (packages,) = venv.glob("lib/python*/site-packages")
        # A folder that is named in a .pth file has its own .pth files ignored, such as the one that
        # leads to the checkout.
        (packages / "others.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return Installed(programs, folder)


def test_files_that_are_read_at_run_time_are_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert wheel.name.startswith(f"imgcap_tf-{__version__}-")
    assert {f"{package}/py.typed" for package in ("imgcap", "export", "serving")} <= names
    recipes = {f"imgcap/cli/recipes/{path.name}" for path in (ROOT / "configs").glob("*.cfg")}
    assert recipes and recipes <= names
    assert "serving/deployment/monitoring.config" in names
    samples = {f"imgcap/data/samples/{path.name}" for path in find_samples().values()}
    assert samples | {"imgcap/data/samples/NOTICE"} <= names
    assert {"serving/wire/wire.proto", "serving/server/settings/settings.proto"} <= names
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "app.py"))]


def test_modules_are_those_of_the_wheel(installed: Installed) -> None:
    script = (
        "import sys, imgcap, export, serving\n"
        "print(*sys.path)\n"
        "print(imgcap.__file__, export.__file__, serving.__file__)"
    )
    path, files = installed.run("python", "-c", script).splitlines()
    assert str(ROOT) not in path.split()
    own = installed.programs.parent
    assert [Path(file).is_relative_to(own) for file in files.split()] == [True] * 3


def test_every_command_says_help_and_version(installed: Installed) -> None:
    calls = [(name, flag) for name in console_scripts() for flag in ("--help", "--version")]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda call: installed.run(*call), calls))
    for (name, flag), answer in zip(calls, answers, strict=True):
        expected = f"usage: {name}" if flag == "--help" else f"{name} {__version__}"
        assert answer.startswith(expected), answer


def test_from_photos_to_a_run_by_a_recipe(
    installed: Installed, raw_dir: Path, encoder_file: Path
) -> None:
    prepare = [f"--raw_dir={raw_dir}", "--output_dir=data", "--min_count=2", "--num_processes=1"]
    installed.run("imgcap-prepare", *prepare)
    small = [f"--encoder={encoder_file}", f"--image_size={IMAGE_SIZE}", "--units=8"]
    # What costs seconds and has tests of its own is switched off.
    quick = ["--max_steps=2", "--cached_views=1", "--ema_momentum=0", "--beam_width=1"]
    given = ["--data_dir=data", "--workdir=run", "--precision=float32", *small, *quick]
    installed.run("imgcap-train", "--flagfile=flickr8k", *given)
    found = {path.name for path in (installed.folder / "run").iterdir()}
    assert {"config.json", "vocab.txt", "metrics.jsonl", "checkpoints", "curves.png"} <= found
    assert '"inject_and_merge"' in (installed.folder / "run" / "config.json").read_text()


@pytest.fixture
def page(installed: Installed) -> Iterator[str]:
    port = free_port()
    command = [installed.programs / "imgcap-page", f"--port={port}", "--noopen_browser"]
    started = subprocess.Popen(command, cwd=installed.folder, stdout=subprocess.DEVNULL)
    try:
        wait_until_open(port, started)
        yield f"http://localhost:{port}"
    finally:
        started.terminate()
        started.wait(30)


def test_the_page_starts(page: str) -> None:
    with urllib.request.urlopen(f"{page}/_stcore/health", timeout=30) as answer:
        assert answer.read() == b"ok"


def test_the_captioner_in_the_box(installed: Installed) -> None:
    """From the wheel alone: it captions, and is unsure of what is unlike its training photos."""
    samples = find_samples()
    words = installed.run("imgcap-caption", *map(str, samples.values()), "--local")
    rows = [line.split("\t") for line in words.splitlines() if "\t" in line]
    found = {Path(path).stem: (caption, float(sure.rstrip("%"))) for path, caption, sure in rows}
    assert found.keys() == samples.keys() and all(caption for caption, _ in found.values())
    assert max(found[name][1] for name in ("cat", "coffee", "rocket")) < 50
    assert found["park"][1] > found["coffee"][1], "a person outdoors, against a cup"


def test_the_box_is_small_and_says_what_it_is() -> None:
    box = ROOT / "imgcap" / "pretrained" / "flickr8k"
    paths = [path for path in box.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in paths) <= 25_000_000
    notice = (box / "NOTICE").read_text(encoding="utf-8")
    assert "EfficientNet-Lite" in notice and "Apache" in notice and "Flickr8k" in notice
    assert "float16 changes 11 of 1,000 captions" in (box / "MODEL_CARD.md").read_text()


@pytest.mark.skipif(FULL != "demo", reason="minutes more: IMGCAP_FULL_INSTALL is not `demo`")
def test_the_demo_walks_the_whole_road(installed: Installed) -> None:
    # One epoch on a few images teaches nothing: the demo's last word is that, and status 1.
    words = installed.run("imgcap-demo", "--images=60", "--epochs=1", status=1)
    assert "held-out images, captioned over gRPC:" in words
    assert (installed.folder / "demo" / "captions.png").stat().st_size > 1000
