"""A headless Chromium for the page's tests: what it does, what it shows and what it measures."""

from tests.support.browser.accessibility import (
    AXE_MISSING,
    Violation,
    announced,
    find_violations,
    spoken,
)
from tests.support.browser.measures import (
    Sight,
    cumulative_layout_shift,
    cut_off,
    moves,
    requests,
    sights,
)
from tests.support.browser.window import MISSING, Browser

__all__ = [
    "AXE_MISSING",
    "MISSING",
    "Browser",
    "Sight",
    "Violation",
    "announced",
    "cumulative_layout_shift",
    "cut_off",
    "find_violations",
    "moves",
    "requests",
    "sights",
    "spoken",
]
