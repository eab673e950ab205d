"""Things timed by turns, in this process and in processes with thread settings of their own."""

from tests.bench.timing.process import Subject, Timer, timing_process
from tests.bench.timing.turns import clocked, take_turns

__all__ = ["Subject", "Timer", "clocked", "take_turns", "timing_process"]
