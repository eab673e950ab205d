"""Greedy, beam and sampling search: pure functions of `step`, batched, wholly in the graph."""

from imgcap.model.search.beam import Captions, State, Step, beam, greedy, sample

__all__ = [
    "Captions",
    "State",
    "Step",
    "beam",
    "greedy",
    "sample",
]
