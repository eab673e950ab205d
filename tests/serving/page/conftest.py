"""A page before a made-up model server."""

from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from tests.serving.page.visits import APP, FakeServer


@pytest.fixture
def server() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.stop()


@pytest.fixture
def page(server, monkeypatch) -> AppTest:
    monkeypatch.setenv("IMGCAP_SERVER", server.target)
    return AppTest.from_file(str(APP), default_timeout=20)
