"""What a window measures of a visit: paints, layout shifts, and whom the page asks."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from tests.support.browser.window import Browser


class Sight(NamedTuple):
    """When there was something to see.

    Attributes:
        first: milliseconds from the visit's start to the first content.
        largest: milliseconds from the visit's start to the largest one so far.
    """

    first: float
    largest: float


_CUT_OFF = """
const width = document.documentElement.clientWidth, found = [];
for (const element of document.querySelectorAll('[data-testid=stMain], [data-testid=stMain] *')) {
  const box = element.getBoundingClientRect(), style = getComputedStyle(element);
  if (!box.width || style.visibility === 'hidden' || style.position === 'fixed') continue;
  const cut = !['visible', 'auto', 'scroll'].includes(style.overflowX) &&
    style.textOverflow !== 'ellipsis' && element.scrollWidth > element.clientWidth + 1 &&
    element.clientWidth > 1;
  if (box.right > width + 1 || box.left < -1 || cut)
    found.push([Math.round(box.left), Math.round(box.right), cut, element.outerHTML.slice(0, 200)]);
}
return found;
"""

_SIGHTS = """
return new Promise(done => {
  const first = performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0;
  new PerformanceObserver(list => done([first, list.getEntries().at(-1).startTime])).observe(
    {type: 'largest-contentful-paint', buffered: true});
  setTimeout(() => done([first, first]), 1000);
})
"""


def sights(browser: Browser) -> Sight:
    """When the visit that is open showed its first and its largest content."""
    return Sight(*browser.script(_SIGHTS))


def moves(browser: Browser) -> list[dict[str, Any]]:
    """The layout shifts since the page was opened that no click or key had caused.

    Returns:
        Of each the time `at` which it was in milliseconds, its `value`, and its `sources`: the HTML
        of what moved.
    """
    return browser.script("return window.imgcapMoves")


def cumulative_layout_shift(shifts: Sequence[dict[str, Any]]) -> float:
    """The shifts of the worst moment of a visit, as web.dev's CLS has it.

    A moment is a row of shifts with less than a second between two, and five seconds long at most.

    Args:
        shifts: as `moves` returns them.
    """
    worst = total = 0.0
    first = last = float("-inf")
    for shift in shifts:
        if shift["at"] - last >= 1000 or shift["at"] - first >= 5000:
            first, total = shift["at"], 0.0
        last = shift["at"]
        total += shift["value"]
        worst = max(worst, total)
    return worst


def cut_off(browser: Browser) -> list[list[Any]]:
    """What stands out over the sides of the window, or has contents that are cut off.

    Returns:
        Left and right side in CSS pixels, whether its own contents are cut, and its HTML.
    """
    return browser.script(_CUT_OFF)


def requests(browser: Browser) -> list[str]:
    """The addresses that pages asked for since this was last called, web sockets among them."""
    addresses = []
    for entry in browser.log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            addresses.append(message["params"]["request"]["url"])
        elif message["method"] == "Network.webSocketCreated":
            addresses.append(message["params"]["url"])
    return addresses
