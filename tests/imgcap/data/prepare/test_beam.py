"""Preparation by Apache Beam: the local road's files, bit for bit, and its errors in a line."""

import contextlib
import importlib.util
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from imgcap.cli import prepare
from imgcap.config import PrepareConfig
from imgcap.data.manifest import load_manifest, shard_paths
from imgcap.data.prepare import preparation
from imgcap.data.raw import drawn
from imgcap.data.shards import references
from imgcap.data.text.vocabulary import Vocabulary
from imgcap.files.locations import open_file, walk
from tests.support.servers import free_port
from tests.support.waiting import wait_for

needs_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None, reason="Apache Beam is not installed"
)
HERE = ("--direct_running_mode=in_memory", "--direct_num_workers=1")
"""Workers in this process, which has TensorFlow already."""


def contents(folder: str | Path) -> dict[str, bytes]:
    """Name to bytes of the files that a preparation leaves."""
    found = {}
    for location in walk(str(folder)):
        with open_file(location) as file:
            found[location[len(str(folder)) + 1 :]] = file.read()
    found.pop(".lock", None)
    return found


def config(raw: Path, output: str | Path, **values) -> PrepareConfig:
    values = {"num_shards": 8, "num_processes": 2, "max_bad_fraction": 0.1, **values}
    return PrepareConfig(raw_dir=str(raw), output_dir=str(output), **values)


@pytest.fixture(scope="module")
def untidy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes of which some are unreadable, absent, in no list, or without a caption."""
    raw = tmp_path_factory.mktemp("untidy")
    drawn.write_dataset(raw, 40, seed=0)
    images = raw / "Images"
    (images / "scene_0000.jpg").write_bytes(b"no picture")
    (images / "scene_0001.jpg").unlink()
    lines = (raw / "captions.txt").read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("scene_0002.jpg")]
    (raw / "captions.txt").write_text("".join([*kept, "gone.jpg,A lost picture .\n"]))
    shutil.copy(images / "scene_0003.jpg", images / "more.jpg")
    with (raw / "captions.txt").open("a") as file:
        file.write(
            'more.jpg,A picture of no list .\nscene_0005.jpg,"Ein Bild, später geschrieben"\n'
        )
    return raw


@pytest.fixture(scope="module")
def prepared(untidy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the local road makes of them."""
    folder = tmp_path_factory.mktemp("local")
    preparation.prepare(config(untidy, folder, num_processes=1))
    return folder


@needs_beam
def test_the_local_roads_files_bit_for_bit(untidy: Path, prepared: Path, tmp_path: Path) -> None:
    local = load_manifest(prepared)
    assert list(local.unreadable) == ["scene_0000.jpg"]
    assert local.absent == ["gone.jpg", "scene_0001.jpg"]
    assert (local.unlisted, local.uncaptioned) == (["more.jpg"], ["scene_0002.jpg"])
    address = f"ram://{tmp_path.name}/data"
    found = preparation.prepare(config(untidy, address, runner="DirectRunner"), None, HERE)
    assert found == local
    assert contents(address) == contents(prepared)
    # What reads them takes an address, too.
    assert load_manifest(address) == local
    assert Vocabulary.load(f"{address}/vocab.txt").fingerprint == local.vocabulary_fingerprint
    people = references(shard_paths(address, local, "train"))
    assert sorted(one.image_id for one in people if "später" in one.captions[-1]) == (
        ["scene_0005.jpg"]
    )


@needs_beam
def test_a_drawn_split_and_a_second_run(
    untidy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    raw = shutil.copytree(untidy, tmp_path / "raw")
    for path in raw.glob("Flickr_8k.*Images.txt"):
        path.unlink()
    local = preparation.prepare(config(raw, tmp_path / "local"))
    assert local.split_source == "seeded"
    assert (local.images["dev"], local.images["test"]) == (4, 4)
    output = tmp_path / "beam"
    arguments = config(raw, output, runner="DirectRunner"), None, HERE
    with monkeypatch.context() as patched:
        patched.setattr(preparation, "refuse_too_many_unreadable", interrupted)
        with pytest.raises(KeyboardInterrupt):
            preparation.prepare(*arguments)
    lost = output / local.shards["train"][1]
    lost.unlink()
    kept = {path: path.stat().st_mtime_ns for path in output.glob("*.tfrecord")}
    assert preparation.prepare(*arguments) == local
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert contents(output) == contents(tmp_path / "local")


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("localhost", port)):
        return True
    return False


@needs_beam
def test_a_portable_runner(untidy: Path, prepared: Path, tmp_path: Path) -> None:
    """Pipelines go to a job server as Flink's or Spark's would, which sends back work."""
    port = free_port()
    program = "apache_beam.runners.portability.local_job_service_main"
    job_server = subprocess.Popen(
        [sys.executable, "-m", program, f"--port={port}"], stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: _answers(port), seconds=60)
        options = [f"--job_endpoint=localhost:{port}", "--environment_type=LOOPBACK"]
        arguments = config(untidy, tmp_path / "beam", runner="PortableRunner")
        preparation.prepare(arguments, None, options)
    finally:
        job_server.terminate()
        job_server.wait()
    assert contents(tmp_path / "beam") == contents(prepared)


@needs_beam
def test_a_broken_row_is_the_local_roads_line(
    untidy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = shutil.copytree(untidy, tmp_path / "raw")
    with (raw / "captions.txt").open("a") as file:
        file.write("scene_0005.jpg\n")
    flags = [f"--raw_dir={raw}", f"--output_dir={tmp_path / 'data'}"]
    assert prepare.main(["imgcap-prepare", *flags]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"imgcap-prepare: error: {raw / 'captions.txt'}:")
    assert prepare.main(["imgcap-prepare", *flags, "--runner=DirectRunner", "--", *HERE]) == 1
    printed = capsys.readouterr().err.splitlines()
    assert printed[-1] == line
    assert not any("Traceback" in text for text in printed)
    # Nothing is left where nothing was.
    assert not (tmp_path / "data").exists()


@needs_beam
@pytest.mark.parametrize(
    ("runner", "options", "message"),
    [
        ("DirectRunner", ["--", "--no_such=1"], "--runner=DirectRunner has no option --no_such"),
        ("DirectRunner", ["workers"], "'workers' is no option of --runner=DirectRunner"),
        ("local", ["--", "--direct_num_workers=1"], "unexpected argument '--direct_num_workers=1'"),
        (
            "FlinkRunner",
            ["--", "--parallelism=many"],
            "--runner=FlinkRunner: argument --parallelism",
        ),
    ],
)
def test_options_of_a_runner(
    raw_dir: Path, tmp_path: Path, runner: str, options: list[str], message: str, capsys
) -> None:
    flags = [f"--raw_dir={raw_dir}", f"--output_dir={tmp_path / 'data'}", f"--runner={runner}"]
    assert prepare.main(["imgcap-prepare", *flags, *options]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("imgcap-prepare: error: ") and message in error
    assert not (tmp_path / "data").exists()


def test_without_beam(
    raw_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    flags = [f"--raw_dir={raw_dir}", f"--output_dir={tmp_path}", "--runner=FlinkRunner"]
    assert prepare.main(["imgcap-prepare", *flags]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "imgcap-prepare: error: --runner=FlinkRunner needs Apache Beam: pip install "
        "'imgcap-tf[beam]'"
    )
