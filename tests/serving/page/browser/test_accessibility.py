"""The page without a mouse, without eyes, and by the rules of WCAG 2.2 AA."""

from pathlib import Path

import pytest
from PIL import ImageChops
from selenium.webdriver.common.keys import Keys

from tests.support.browser import AXE_MISSING, Browser, announced, find_violations, spoken

FILES = "input[type=file]"
CHOSEN = "return document.querySelector('.imgcap-words input:checked').value"
COLOURED = """
return [...document.querySelectorAll('.imgcap-overlay')].findIndex(
  overlay => getComputedStyle(overlay).visibility === 'visible');
"""
"""JavaScript: the number of the word whose overlay lies over the photo."""


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.jpg"
    path.write_text("no image at all")
    return path


@pytest.mark.skipif(bool(AXE_MISSING), reason=AXE_MISSING)
def test_axe_finds_nothing(visit, sure, unsure, bad):
    found = {}

    def look(state: str) -> None:
        for dark in (False, True):
            visit.prefer(dark=dark, still=True)
            found[state, dark] = find_violations(visit)

    look("nothing yet")
    visit.type(FILES, str(sure))
    visit.see("Alt text, ready to copy")
    look("one that is sure")
    visit.type(FILES, str(unsure))
    visit.see("Check this one")
    look("one that is not")
    visit.type(FILES, str(bad))
    visit.see("This file can’t be captioned")
    look("one that fails")
    visit.type(FILES, "\n".join(map(str, (sure, unsure, bad))))
    visit.see("1 sure, 1 to check, 1 failed")
    look("several")
    visit.click("Details 2")
    visit.await_element("[role=dialog] .imgcap-words")
    look("details of one of them")
    visit.press(Keys.ESCAPE)
    visit.wait(lambda: not visit.find("[role=dialog]"))
    visit.click_at("[data-testid=stExpandSidebarButton]")
    visit.see("Model server")
    look("settings")
    assert found == dict.fromkeys(found, [])


def test_everything_has_a_name_for_those_who_listen(visit, sure):
    assert _nameless(visit) == []
    visit.type(FILES, str(sure))
    visit.await_element(".imgcap-words")
    assert _nameless(visit) == []


def _nameless(browser: Browser) -> list[str]:
    return browser.script(
        "return [...document.querySelectorAll('[data-testid=stMain] button, "
        "[data-testid=stMain] img:not(.imgcap-overlay), "
        "[data-testid=stMain] input:not([type=file])')].filter(e => e.checkVisibility() && "
        "!(e.innerText || e.alt || e.ariaLabel || e.title || e.labels?.length || "
        "e.getAttribute('aria-labelledby'))).map(e => e.outerHTML.slice(0, 200))"
    )


def test_what_a_screen_reader_says(visit, unsure):
    visit.type(FILES, str(unsure))
    visit.await_element(".imgcap-words")
    size = unsure.stat().st_size
    said = spoken(visit)
    # The region is there from the first, and says the caption when it comes.
    visit.wait(lambda: f"Caption of unsure.jpg: an image of {size} bytes" in announced(visit))
    assert [name for role, name in said if role == "main"] == [""]
    levels = visit.script(
        "return [...document.querySelectorAll('h1,h2,h3,h4')].filter(h => "
        "h.checkVisibility()).map(h => +h.tagName[1])"
    )
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    assert ("article", "unsure.jpg") in said
    assert ("group", "Tap a word: where the model looked") in said
    words = [name for role, name in said if role == "radio"]
    assert words == ["an", "image", "of", str(size), "bytes"]
    assert ("image", f"an image of {size} bytes") in said
    assert ("DisclosureTriangle", "unsure: check this one") in said
    (word,) = visit.find(".imgcap-words input:checked")
    about = visit.command("Accessibility.getFullAXTree")["nodes"]
    descriptions = [node.get("description", {}).get("value", "") for node in about]
    assert any("looked most at the lower left" in text for text in descriptions), word


def test_keyboard_alone(visit, sure, unsure):
    visit.tab_to("Park")
    visit.press(Keys.ENTER)
    visit.await_element(".imgcap-words")
    visit.tab_to("bytes", "radio")
    first = visit.script(CHOSEN)
    assert visit.script(COLOURED) == int(first) == 4  # the word that looks hardest at one place
    visit.press(Keys.LEFT)
    assert visit.script(CHOSEN) == "3" and visit.script(COLOURED) == 3
    visit.tab_to("sure", "DisclosureTriangle")


def test_into_the_details_and_back_by_keyboard(visit, sure, unsure):
    visit.type(FILES, f"{sure}\n{unsure}")
    visit.see("1 sure, 1 to check")
    visit.tab_to("Details 2")
    visit.press(Keys.ENTER)
    visit.await_element("[role=dialog] .imgcap-words")
    visit.wait(lambda: visit.focused_within("[role=dialog]"))
    for _ in range(12):  # once around and on
        visit.press(Keys.TAB)
        assert visit.focused_within("[role=dialog]")
    visit.press(Keys.ESCAPE)
    visit.wait(lambda: visit.focused().accessible_name == "Details 2")


def test_focus_can_be_seen(visit, sure):
    visit.type(FILES, str(sure))
    visit.await_element(".imgcap-words")
    unseen, passed = [], 0
    visit.prefer(still=True)
    for _ in range(40):
        visit.press(Keys.TAB)
        if visit.script("return document.activeElement === document.body"):
            break  # once around
        passed += 1
        if not _focus_is_seen(visit):
            unseen.append(visit.focused().accessible_name)
    assert passed > 10 and unseen == []


def _focus_is_seen(browser: Browser) -> bool:
    """Whether what has the focus looks otherwise without it, below the header and in the window."""
    box = browser.focused().rect
    part = (box["x"] - 8, box["y"] - 8, box["width"] + 16, box["height"] + 16)
    seen = browser.picture(*part)
    browser.script("document.activeElement.blur()")
    return ImageChops.difference(seen, browser.picture(*part)).getbbox() is not None
