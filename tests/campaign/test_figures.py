"""How a campaign counts and shows what held."""

import pytest

from tests.campaign import figures
from tests.campaign.__main__ import COMMAND
from tests.campaign.figures import Row, Tally


def test_a_tally_counts_and_tells_what_did_not_hold(capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally("train", "export")
    tally.add("train")
    tally.add("train", "a traceback", "seed 7")
    tally.add("new")
    assert tally.rows() == [Row("train", 2, 1), Row("export", 0, 0), Row("new", 1, 1)]
    assert capsys.readouterr().err == "did not hold: train [seed 7]: a traceback\n"
    assert not figures.all_held(tally.rows())


def test_the_table() -> None:
    rows = [Row("train", 50, 50), Row("memory", 1, 1, "1,020 MB (1.02 ×, ≤ 1.2 ×)")]
    assert figures.format_table(rows).splitlines() == [
        "campaign  tried  held  note",
        "train        50    50",
        "memory        1     1  1,020 MB (1.02 ×, ≤ 1.2 ×)",
    ]
    assert figures.all_held(rows)
    broken = figures.format_table([Row("export", 20, 18)])
    assert broken.splitlines()[-1] == "did not hold: export (2 of 20)"


def test_an_unknown_campaign_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    from imgcap.cli import command

    assert command.main(COMMAND, ["campaign", "nothing"]) == 2
    assert "no campaign is called nothing: choose of kill, disk" in capsys.readouterr().err
