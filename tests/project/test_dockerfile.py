"""The Dockerfile as far as it can be checked without building it: what it copies is there and sent,
what it installs exists, and the training image fits the job that starts it.
"""

import configparser
import re
from importlib import metadata
from typing import NamedTuple

import pytest

from tests.support.paths import ROOT

yaml = pytest.importorskip("yaml", reason="PyYAML, of the extra `test`, is not installed")


class Stage(NamedTuple):
    """One stage: its name, its base, and its instructions with what follows them."""

    name: str
    base: str
    instructions: list[tuple[str, str]]


def stages() -> dict[str, Stage]:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    found: dict[str, Stage] = {}
    for line in filter(None, lines):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, name = rest.split(" AS ")
            found[name] = last = Stage(name, base, [])
        else:
            last.instructions.append((word, " ".join(rest.split())))
    return found


def of_kind(stage: Stage, kind: str) -> list[str]:
    return [rest for word, rest in stage.instructions if word == kind]


def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def copied() -> list[str]:
    return [
        source
        for line in of_kind(stages()["wheel"], "COPY")
        for source in line.split()[:-1]
        if not source.startswith("--from")
    ]


def test_what_is_copied_is_there_and_sent() -> None:
    sent = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    assert set(copied()) == sent
    assert all((ROOT / source).exists() for source in copied())
    # Nothing that is not in the repository: a link must not lead out of what is sent, either.
    for link in (path for source in copied() for path in (ROOT / source).rglob("*")):
        if link.is_symlink():
            assert link.resolve().relative_to(ROOT).parts[0] in copied(), link


def test_the_wheel_has_all_that_setup_names() -> None:
    packages = setup()["options.packages.find"]["include"].split()
    for package in packages:
        assert package.removesuffix(".*") in copied()
    assert setup()["metadata"]["license_files"] in copied()
    assert setup()["metadata"]["long_description"].removeprefix("file: ") in copied()


@pytest.mark.parametrize(("stage", "extras"), [("train", {"gpu"}), ("beam", {"train", "beam"})])
def test_extras_exist(stage: str, extras: set[str]) -> None:
    (command,) = [line for line in of_kind(stages()[stage], "RUN") if "pip install" in line]
    assert set(re.search(r"\.whl\)\[([\w,]+)\]", command)[1].split(",")) == extras
    assert extras <= set(setup()["options.extras_require"])
    assert "from=wheel,source=/wheels,target=/wheels" in command


def test_bases_are_pinned_and_fit() -> None:
    supported = re.findall(r"Python :: (3\.\d+)", setup()["metadata"]["classifiers"])
    for stage in stages().values():
        image, tag = stage.base.split(":")
        assert image == "python" and tag.removesuffix("-slim") in supported
        assert all("--no-cache-dir" in line for line in of_kind(stage, "RUN") if "pip " in line)
    (boot,) = [line for line in of_kind(stages()["beam"], "COPY") if "apache/beam" in line]
    python, beam = re.search(r"beam_python([\d.]+)_sdk:([\d.]+) ", boot).groups()
    assert stages()["beam"].base == f"python:{python}-slim"
    assert f"'apache-beam[gcp]=={beam}'" in of_kind(stages()["beam"], "RUN")[0]
    try:
        assert beam == metadata.version("apache-beam")
    except metadata.PackageNotFoundError:
        pytest.skip("Apache Beam, of the extra `beam`, is not installed")


def test_the_training_image_fits_the_job() -> None:
    *_, last = stages().values()
    assert last.name == "train"
    assert of_kind(last, "USER") == ["1000"]
    assert "--uid=1000 " in " ".join(of_kind(last, "RUN"))
    # What is installed is installed before root is given up.
    words = [word for word, _ in last.instructions]
    assert max(place for place, word in enumerate(words) if word == "RUN") < words.index("USER")
    documents = yaml.safe_load_all((ROOT / "configs" / "train_job.yaml").read_text("utf-8"))
    pod = {one["kind"]: one for one in documents}["Job"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsUser"] == 1000
    assert pod["containers"][0]["image"] == "imgcap-train"
    assert "docker build -t imgcap-train ." in (ROOT / "Dockerfile").read_text(encoding="utf-8")
