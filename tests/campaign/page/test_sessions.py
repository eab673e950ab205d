"""The short form of the campaign on the page."""

import pytest

from tests.campaign.figures import all_held, format_table
from tests.campaign.page import sessions
from tests.campaign.page.sessions import Markup


def test_visitors_keep_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGCAP_SERVER", "")
    monkeypatch.setattr(sessions, "SESSIONS", 3)
    rows = sessions.run(2, seed=0)
    assert all_held(rows), format_table(rows)
    assert [row.tried for row in rows] == [6, 6, 6]


def test_markup_is_found() -> None:
    assert Markup("<p class='imgcap-a'>&lt;b&gt;</p>").faults == []
    assert Markup("<p class='a'>&lt;b&gt;</p>").text == "<b>"
    assert Markup("<p class='x'><img src='http://a/b'><style>*{}</style>").faults == [
        *("class=", "src=", "<style>*{}")
    ]
    assert Markup("<p><script>x</script><i onclick='x'>").faults == ["<script>", "<i>", "onclick="]
