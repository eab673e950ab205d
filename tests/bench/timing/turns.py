"""Things timed by turns, so that whatever else the machine does affects them alike."""

import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)

Turn = Callable[[], Sequence[float]]
"""Runs one turn of a subject; returns the seconds of each of its calls."""


def take_turns(subjects: Mapping[Name, Turn], repetitions: int) -> dict[Name, float]:
    """Times each of some things, again and again, one after the other.

    Args:
        subjects: one turn of each, by name.
        repetitions: measured turns of each; one turn before them, in which graphs are traced, is
            not measured.

    Returns:
        Median seconds of a call, by name.
    """
    seconds: dict[Name, list[float]] = {name: [] for name in subjects}
    for measured in (False, *[True] * repetitions):
        for name, turn in subjects.items():
            taken = turn()
            seconds[name] += taken if measured else []
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def clocked(call: Callable[[], object], calls: int = 1) -> Turn:
    """Makes a turn of a function that is called in this process.

    Args:
        call: returns when its work is done.
        calls: how often a turn calls it.
    """

    def turn() -> list[float]:
        seconds = []
        for _ in range(calls):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
        return seconds

    return turn
