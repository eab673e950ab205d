"""The short forms of the campaigns on a server: seconds each, on the toy."""

import random

import pytest

from tests.campaign.figures import Row, all_held, format_table
from tests.campaign.server import attack, hot_swap, requests, soak
from tests.campaign.server.mutation import mutate
from tests.campaign.server.requests import RPCS, World
from tests.campaign.server.world import KIND
from tests.support.servers import KINDS


def held(rows: list[Row]) -> str:
    assert all_held(rows), format_table(rows)
    return format_table(rows)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The kind of server that is attacked."""
    monkeypatch.setenv(KIND, request.param)
    return request.param


def test_changed_requests_of_all_rpcs(kind: str) -> None:
    shown = held(requests.run(400, seed=1))
    names = [name for name in RPCS if kind == "embedded" or "Reload" not in name]
    assert all(name in shown for name in (*names, "REST", "good callers", "memory"))


def test_attack(kind: str) -> None:
    shown = held(attack.run(1, seed=1, picture=False))
    assert "256 photos" in shown and "memory afterwards" in shown


def test_hot_swap(kind: str) -> None:
    assert "requests" in held(hot_swap.run(4, seed=3, callers=8))


def test_soak() -> None:
    assert "latency" in held(soak.run(6, seed=0, parts=12))


@pytest.mark.parametrize("name", RPCS)
def test_mutation_reaches_every_field(name: str, tmp_path) -> None:
    """Else a request of a kind that nobody thought of would never be sent."""
    rng, seen = random.Random(0), set()
    for _ in range(3000):
        request = RPCS[name][1](World(tmp_path, b"four"))
        mutate(request, rng)
        for field, _ in request.ListFields():
            seen.add(field.name)
    assert seen == {field.name for field in request.DESCRIPTOR.fields}
