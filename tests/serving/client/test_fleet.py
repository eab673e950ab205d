"""Servers that are asked in turn, and waited for: no answer is lost and none is made twice."""

import threading
import time

import pytest

from imgcap.errors import ServingError
from serving.client.answers import Caption
from serving.client.errors import BadImage, DeadlineExceeded, Overloaded, ServerUnavailable
from serving.client.fleet import MAX_LATE, Fleet, TooLate


class Client:
    """A client whose server does what the test says: an error to raise, or None to answer."""

    max_side = None

    def __init__(self, target: str, act) -> None:
        self.target, self._act, self.asked, self.closed = target, act, [], False

    def caption(self, image: bytes) -> Caption:
        self.asked.append(image)
        error = self._act(self, image)
        if error is not None:
            raise error
        return Caption(image.decode(), -0.5)

    def close(self) -> None:
        self.closed = True


def answering(client: Client, image: bytes) -> None:
    return None


def away(client: Client, image: bytes) -> ServingError:
    return ServerUnavailable(f"no model server answers at {client.target}")


def numbers(count: int) -> list[bytes]:
    return [str(number).encode() for number in range(count)]


def test_servers_are_asked_in_turn() -> None:
    clients = [Client(name, answering) for name in "abc"]
    with Fleet(clients, wait=5) as fleet:
        outcomes = list(fleet.caption_many(numbers(9), concurrency=1))
    assert [outcome.caption.text for outcome in outcomes] == [str(n) for n in range(9)]
    assert [len(client.asked) for client in clients] == [3, 3, 3]
    assert all(client.closed for client in clients)


def test_a_server_that_is_away_is_left_alone_and_the_others_asked() -> None:
    lines: list[str] = []
    dead, alive = Client("dead", away), Client("alive", answering)
    with Fleet([dead, alive], 5, lines.append, known=True) as fleet:
        outcomes = list(fleet.caption_many(numbers(20), concurrency=2))
    assert [outcome.caption.text for outcome in outcomes] == [str(n) for n in range(20)]
    assert len(dead.asked) <= 3 and len(alive.asked) == 20
    assert lines == []


@pytest.mark.parametrize("kind", [ServerUnavailable, Overloaded, DeadlineExceeded])
def test_a_server_that_comes_back_is_waited_for(kind) -> None:
    lines: list[str] = []
    times = [0]

    def twice_away(client: Client, image: bytes) -> ServingError | None:
        times[0] += 1
        return kind("gone") if 3 <= times[0] <= 4 else None

    with Fleet([Client("a", twice_away)], 30, lines.append) as fleet:
        outcomes = list(fleet.caption_many(numbers(6), concurrency=1))
    assert [outcome.caption.text for outcome in outcomes] == [str(n) for n in range(6)]
    assert lines == ["gone; waiting up to 30 s for it", "a answers again: going on"]


def test_a_server_that_never_answered_is_not_waited_for() -> None:
    client = Client("a", away)
    with Fleet([client], wait=30) as fleet, pytest.raises(ServerUnavailable) as raised:
        fleet.caption(b"1")
    assert str(raised.value) == "no model server answers at a" and len(client.asked) == 1


def test_waiting_has_an_end() -> None:
    with (
        Fleet([Client("a", away)], 1.2, known=True) as fleet,
        pytest.raises(ServerUnavailable) as raised,
    ):
        fleet.caption(b"1")
    # 0.25, 0.5 and 1 s of rest: the last ask is the first after 1.2 s.
    assert str(raised.value) == "no model server answers at a; waited 2 s"


def test_one_image_that_is_always_late_is_no_outage() -> None:
    def late_with_seven(client: Client, image: bytes) -> ServingError | None:
        return DeadlineExceeded("a did not answer") if image == b"7" else None

    client = Client("a", late_with_seven)
    with Fleet([client], wait=60) as fleet:
        outcomes = list(fleet.caption_many(numbers(40), concurrency=4))
    errors = {outcome.source: outcome.error for outcome in outcomes if outcome.error}
    assert list(errors) == [b"7"] and isinstance(errors[b"7"], TooLate)
    assert client.asked.count(b"7") >= MAX_LATE


def test_a_bad_image_is_not_asked_again() -> None:
    client = Client("a", lambda client, image: BadImage("not an image"))
    with Fleet([client], wait=60) as fleet, pytest.raises(BadImage):
        fleet.caption(b"1")
    assert len(client.asked) == 1


def test_who_stops_early_does_not_wait_for_the_servers() -> None:
    reached = threading.Event()

    def away_after_one(client: Client, image: bytes) -> ServingError | None:
        if image == b"0":
            return None
        reached.set()
        return away(client, image)

    started = time.monotonic()
    with Fleet([Client("a", away_after_one)], wait=60) as fleet:
        outcomes = fleet.caption_many(numbers(50), concurrency=2)
        assert next(outcomes).caption is not None
        assert reached.wait(10)
        outcomes.close()
    assert time.monotonic() - started < 10
