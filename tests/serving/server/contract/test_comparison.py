"""How `make contract` tells what held on which server."""

import pytest

from tests.serving.server.contract.__main__ import (
    COMMAND,
    format_lines,
    read_outcomes,
    split_name,
    subject_of,
)


@pytest.mark.parametrize(
    "name, question, kind",
    [
        ("test_a[embedded]", "test_a", "embedded"),
        ("test_a[real-b-c]", "test_a[b-c]", "real"),
        ("test_a[b-embedded]", "test_a[b]", "embedded"),
        ("test_a[unreal]", "test_a[unreal]", ""),
        ("test_embedded", "test_embedded", ""),
    ],
)
def test_kind_is_taken_out_of_a_name(name, question, kind):
    assert split_name(name) == (question, kind)


def test_outcomes_are_read_from_a_report(tmp_path):
    (tmp_path / "report.xml").write_text(
        '<testsuites><testsuite><testcase classname="m" name="test_a[embedded]"/>'
        '<testcase classname="m" name="test_a[real]"><skipped message="no server"/></testcase>'
        '<testcase classname="m" name="test_b[embedded]"><failure/></testcase>'
        '<testcase classname="m" name="test_b[real]"><error/></testcase>'
        '<testcase classname="m" name="test_c"/>'
        "</testsuite></testsuites>"
    )
    assert read_outcomes(tmp_path / "report.xml") == {
        "m::test_a": {"embedded": "passed", "real": "skipped"},
        "m::test_b": {"embedded": "failed", "real": "failed"},
    }


def test_lines_show_both_servers():
    found = {
        "test_status": {"embedded": "passed", "real": "failed"},
        "test_hot_swap": {"embedded": "passed"},
    }
    assert format_lines(found).splitlines() == [
        "contract  embedded | real",
        "status    holds    | FAILS",
        "",
        "hot swap  embedded | real",
        "hot_swap  holds    | not run",
        "",
        "embedded: holds 2, FAILS 0, not run 0",
        "real: holds 0, FAILS 1, not run 1",
    ]
    assert subject_of("test_rollout_and_rollback") == "rollout"


def test_server_that_is_no_program_is_refused(tmp_path, capsys):
    from imgcap.cli import command

    assert command.main(COMMAND, ["contract", f"--server={tmp_path / 'none'}"]) == 2
    assert "is no program" in capsys.readouterr().err
