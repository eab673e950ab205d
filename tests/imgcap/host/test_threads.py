"""Work ahead of a loop: in order, bounded, and given up when the loop ends early."""

import threading

import pytest

from imgcap.host.threads import map_in_order


def test_results_come_in_order_and_few_items_are_held() -> None:
    taken: list[int] = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    both = threading.Barrier(2)  # Two calls must be under way at a time.
    seen = []
    for number, call in map_in_order(lambda n: (both.wait(5), n * n)[1], items(), 2, 4):
        seen.append((number, call.result()))
        assert len(taken) <= number + 5
    assert seen == [(n, n * n) for n in range(100)]


def test_an_error_stays_in_its_call() -> None:
    calls = [call for _, call in map_in_order(lambda n: 1 // n, [1, 0, 2], 2, 2)]
    assert calls[0].result() == 1 and calls[2].result() == 0
    with pytest.raises(ZeroDivisionError):
        calls[1].result()


def test_who_stops_early_wakes_the_calls() -> None:
    stopped = threading.Event()
    results = map_in_order(lambda n: n or stopped.wait(30), [1, 0, 0], 2, 2, stopped.set)
    assert next(results)[1].result() == 1
    results.close()
    assert stopped.is_set()
