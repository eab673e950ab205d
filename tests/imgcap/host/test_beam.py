"""Pipelines of Beam: an error of a step is told as the one line that it is."""

import pytest

from imgcap.errors import ConfigError, DataError
from imgcap.host.beam import PipelineFailed, find_error, open_pipeline
from serving.client.errors import ServerUnavailable

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
        (KeyboardInterrupt(), KeyboardInterrupt, ""),
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
