"""axe-core in the page: which rules of WCAG 2.2 AA does it break, and where."""

from typing import NamedTuple

from tests.support.browser.window import Browser
from tests.support.paths import ROOT

AXE = ROOT / ".venv/npm/node_modules/axe-core/axe.min.js"
AXE_MISSING = "" if AXE.is_file() else "no axe-core: make axe"
TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")

_RUN = """
return axe.run({exclude: arguments[1]}, {runOnly: arguments[0], resultTypes: ['violations']}).then(
  found => found.violations.flatMap(rule => rule.nodes.map(node =>
    [rule.id, node.target.flat().join(' '), node.html, node.failureSummary])))
"""

_REGION = """
const found = [];
(function search(root) {
  for (const element of root.querySelectorAll('*')) {
    if (element.role === 'status' && element.ariaLive === 'polite') found.push(element.textContent);
    if (element.shadowRoot) search(element.shadowRoot);
  }
})(document);
return found.join(' ');
"""


class Violation(NamedTuple):
    """One element that breaks one rule.

    Attributes:
        rule: the rule's name, such as "color-contrast".
        where: a CSS selector of the element.
        html: the element, or how it begins.
        why: what would mend it.
    """

    rule: str
    where: str
    html: str
    why: str


def find_violations(browser: Browser, exclude: tuple[str, ...] = ()) -> list[Violation]:
    """Runs all rules of WCAG 2.2 AA that a machine can check on what the page shows now.

    Args:
        browser: a window with the page.
        exclude: CSS selectors of what is left out.
    """
    if not browser.script("return 'axe' in window"):
        browser.script(AXE.read_text(encoding="utf-8"))
    found = browser.script(_RUN, TAGS, [[selector] for selector in exclude])
    return [Violation(rule, where, html[:300], why) for rule, where, html, why in found]


def spoken(browser: Browser) -> list[tuple[str, str]]:
    """What a screen reader finds on the page now: roles and names, in the order of the page."""
    nodes = browser.command("Accessibility.getFullAXTree")["nodes"]
    by_id = {node["nodeId"]: node for node in nodes}
    found = []
    waiting = [nodes[0]["nodeId"]]
    while waiting:
        node = by_id[waiting.pop()]
        waiting += reversed([child for child in node.get("childIds", ()) if child in by_id])
        if not node["ignored"]:
            found.append((node["role"]["value"], node.get("name", {}).get("value", "")))
    return found


def announced(browser: Browser) -> str:
    """The text of the page's live region, in whichever component it is."""
    return browser.script(_REGION)
