"""Sums of counts over all workers, as Beam combines them."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import apache_beam as beam

from imgcap.data.prepare.tally import Tally


class AddCounters(beam.CombineFn):
    """Adds up counters, or pairs of a key and its count."""

    def create_accumulator(self) -> Counter[Any]:
        """Starts with no counts."""
        return Counter()

    def add_input(self, accumulator: Counter[Any], element: tuple[Any, int]) -> Counter[Any]:
        """Adds a count to that of its key."""
        accumulator[element[0]] += element[1]
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Counter[Any]]) -> Counter[Any]:
        """Adds up the counts of several workers."""
        total: Counter[Any] = Counter()
        for accumulator in accumulators:
            total.update(accumulator)
        return total

    def extract_output(self, accumulator: Counter[Any]) -> Counter[Any]:
        """Gives the counts."""
        return accumulator


class AddTallies(beam.CombineFn):
    """Adds up tallies of images."""

    def create_accumulator(self) -> Tally:
        """Starts with no images."""
        return Tally()

    def add_input(self, accumulator: Tally, element: Tally) -> Tally:
        """Adds the counts of other images."""
        accumulator.add_tally(element)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Tally]) -> Tally:
        """Adds up the counts of several workers."""
        total = Tally()
        for accumulator in accumulators:
            total.add_tally(accumulator)
        return total

    def extract_output(self, accumulator: Tally) -> Tally:
        """Gives the counts."""
        return accumulator
