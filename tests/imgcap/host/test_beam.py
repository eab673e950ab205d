"""Pipelines of Beam: an error of a step is told as the one line that it is."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imgcap.errors import ConfigError, DataError
from imgcap.host.beam import PipelineFailed, find_error, open_pipeline
from serving.client.errors import ServerUnavailable
from tests.support.paths import ROOT
from tests.support.waiting import wait_for

TRACEBACK = """Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1512, in apache_beam.runners.common.DoFnRunner.process
  File "/x.py", line 32, in f
    raise ServerUnavailable("no server: at all")
serving.client.errors.ServerUnavailable: no server: at all

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/y.py", line 1, in process
RuntimeError: no server: at all [while running 'Map(f)']
"""


def test_an_error_is_found_in_the_traceback_of_a_worker() -> None:
    error = find_error(f"RuntimeError: {TRACEBACK.partition('During')[0]}")
    assert type(error) is ServerUnavailable and str(error) == "no server: at all"
    error = find_error("imgcap.errors.DataError: a.csv:3: broken [while running 'Read']")
    assert type(error) is DataError and str(error) == "a.csv:3: broken"


@pytest.mark.parametrize(
    "text, reason",
    [
        ("ValueError: bad\nsecond line", "ValueError: bad second line"),
        (
            "RuntimeError: Traceback (…):\n  File x\nKeyError: 'a' [while running 'b']",
            "KeyError: 'a'",
        ),
        ("Job 7 failed", "Job 7 failed"),
        ("imgcap.errors.Nothing: x", "imgcap.errors.Nothing: x"),
        ("os.OSError: x", "os.OSError: x"),
    ],
)
def test_another_error_is_quoted(text: str, reason: str) -> None:
    error = find_error(text, "FlinkRunner")
    assert type(error) is PipelineFailed
    assert str(error) == f"--runner=FlinkRunner: the pipeline failed ({reason})"


def fail(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    "raised, kind, message",
    [
        (DataError("a.csv is broken"), DataError, "a.csv is broken"),
        (ValueError("odd"), PipelineFailed, "the pipeline failed .ValueError: odd."),
        (KeyboardInterrupt(), KeyboardInterrupt, "^$"),
    ],
    ids=["own", "other", "interrupted"],
)
def test_errors_of_steps_reach_the_command(capfd, raised, kind, message) -> None:
    beam = pytest.importorskip("apache_beam")
    with pytest.raises(kind, match=message), open_pipeline("DirectRunner", []) as pipeline:
        _ = pipeline | beam.Create([raised]) | beam.Map(fail)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "runner, options, message",
    [
        ("Nope", [], "--runner=Nope: Unexpected pipeline runner"),
        ("DirectRunner", ["--nope=1"], "--runner=DirectRunner has no option --nope"),
        ("DirectRunner", ["--direct_num_workers=x"], "invalid int value: 'x'"),
        ("DirectRunner", ["photos"], "'photos' is no option of --runner=DirectRunner"),
        ("DataflowRunner", [], "--runner=DataflowRunner: Pipeline has validations errors"),
    ],
)
def test_wrong_runners_and_options_are_named(capfd, runner, options, message) -> None:
    pytest.importorskip("apache_beam")
    with pytest.raises(ConfigError) as raised, open_pipeline(runner, options):
        pass
    assert message in str(raised.value) and capfd.readouterr().err == ""


def note_and_wait(folder: str) -> None:
    """A step that says in which process it runs, and never ends."""
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(600)


def is_alive(process: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has asked for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_worker_processes(tmp_path, capfd) -> None:
    beam = pytest.importorskip("apache_beam")
    capfd.readouterr()  # Importing Beam here logs a note.
    options = ["--direct_num_workers=1", "--direct_running_mode=multi_processing"]
    with (
        pytest.raises(DataError, match="^a.csv is broken$"),
        open_pipeline("DirectRunner", options) as pipeline,
    ):
        _ = pipeline | beam.Create([DataError("a.csv is broken")]) | beam.Map(fail)
    assert capfd.readouterr().err == ""

    script = (
        "import sys, apache_beam as beam\n"
        "from imgcap.host.beam import open_pipeline\n"
        "from tests.imgcap.host.test_beam import note_and_wait\n"
        "with open_pipeline('DirectRunner', sys.argv[2:]) as pipeline:\n"
        "    pipeline | beam.Create(sys.argv[1:2]) | beam.Map(note_and_wait)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path), *options]
    parent = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: list(tmp_path.iterdir()), 120)
    finally:
        parent.kill()
        parent.wait()
    (worker,) = (int(path.name) for path in tmp_path.iterdir())
    assert worker != parent.pid
    wait_for(lambda: not is_alive(worker), 30)
