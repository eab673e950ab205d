"""Things timed by turns, so that what else the machine does meets them alike."""

import statistics
import time
from collections.abc import Callable, Mapping


def take_turns(subjects: Mapping[str, Callable[[], object]], repetitions: int) -> dict[str, float]:
    """Times each of some things, again and again, one after the other.

    Args:
        subjects: what to call, by name.
        repetitions: measured turns of each; one turn before them, in which graphs are traced, is
            not.

    Returns:
        Median seconds of a turn, by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for measured in (False, *[True] * repetitions):
        for name, subject in subjects.items():
            start = time.perf_counter()
            subject()
            seconds[name] += [time.perf_counter() - start] if measured else []
    return {name: statistics.median(taken) for name, taken in seconds.items()}
