"""Times the page in a real browser: when there is something to see, and how much it jumps about.

python -m tests.bench.serving.page [--visits=5] [--photos=50]
"""

import argparse
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.bench.table import Row, format_table
from tests.support.browser import Browser, cumulative_layout_shift, moves, sights
from tests.support.browser.page import Page, run_page, write_photo
from tests.support.servers import free_port
from tests.support.toy_model import serve, write_toy_model

FIRST_SIGHT = "≤ 1.0"
"""Seconds to the first content that a visitor sees."""

LAYOUT_SHIFT = "≤ 0.1"
"""What web.dev calls good."""


def measure_page(visits: int, photos: int) -> list[Row]:
    """Visits a page before the toy model, in windows of 1280 and 390 pixels.

    Args:
        visits: how many first visits, each by a browser that has never been there.
        photos: how many photos the last visit brings, all at once.

    Returns:
        The rows of the table.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_toy_model(folder / "imgcap" / "1", details=True)
        port = free_port()
        stack.enter_context(serve(folder / "imgcap", port=port))
        page = stack.enter_context(run_page(f"localhost:{port}"))
        cold, warm = zip(*(_visit_twice(page) for _ in range(visits)), strict=True)
        files = [write_photo(folder / f"{i:02d}.jpg", i % 100, (640, 480)) for i in range(photos)]
        shifts = {name: _bring(page, files, name == "phone") for name in ("desk", "phone")}
    return [
        _row("first visit: seconds to the first content", cold, FIRST_SIGHT),
        _row("next visit: seconds to the first content", warm, FIRST_SIGHT),
        *(
            Row(f"{name}: layout shift while {photos} photos come", shift, LAYOUT_SHIFT, "CLS")
            for name, shift in shifts.items()
        ),
    ]


def _row(name: str, seconds: tuple[float, ...], target: str) -> Row:
    note = f"median of {len(seconds)}, {min(seconds):.2f} to {max(seconds):.2f}"
    return Row(name, statistics.median(seconds), target, note)


def _visit_twice(page: Page) -> tuple[float, float]:
    """Seconds to the first content with an empty cache, and then with what it has kept."""
    browser = Browser()
    try:
        found = []
        for _ in range(2):
            browser.open(page.url)
            browser.find_out("is ready")
            found.append(sights(browser).first / 1000)
            browser.open("about:blank")
        return found[0], found[1]
    finally:
        browser.close()


def _bring(page: Page, photos: list[Path], phone: bool) -> float:
    """The layout shift of a visit that brings photos, from its beginning to the last answer."""
    browser = Browser()
    try:
        if phone:
            browser.resize(390, 844, 2, phone=True)
        browser.open(page.url)
        browser.find_out("is ready")
        browser.type("input[type=file]", "\n".join(map(str, photos)))
        for photo in photos:
            browser.find_out(f"an image of {photo.stat().st_size} bytes", 120)
        return cumulative_layout_shift(moves(browser))
    finally:
        browser.close()


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="Times the page in a real browser.")
    parser.add_argument("--visits", type=int, default=5, help="First visits.")
    parser.add_argument("--photos", type=int, default=50, help="Photos of the last visit.")
    given = parser.parse_args()
    sys.stdout.write(format_table(measure_page(given.visits, given.photos)) + "\n")


if __name__ == "__main__":
    main()
