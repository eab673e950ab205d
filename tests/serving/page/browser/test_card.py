"""The card alone in Chromium: keys, sizes, motion and contrast, without Streamlit around it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from selenium.webdriver.common.keys import Keys

from imgcap.data.pictures import encode_jpeg
from serving.client import Caption, Hypothesis
from serving.page.answers.markup import card_html
from tests.support.browser import AXE_MISSING, MISSING, Browser, find_violations
from tests.support.paths import ROOT

STYLE = (ROOT / "serving/page/style.css").read_text(encoding="utf-8")
WORDS = ["a", "brown", "dog", "is", "running", "through", "the", "snow"]
COLOURS = {"light": "#31333f; background: #fff", "dark": "#fafafa; background: #0e1117"}


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    """A window of its own: these tests run without Streamlit, and so within seconds."""
    if MISSING:
        pytest.skip(f"{' and '.join(MISSING)} not installed")
    window = Browser()
    yield window
    window.close()


@pytest.fixture
def browser(window: Browser) -> Browser:
    """The window as it is at a desk by day."""
    window.resize(1280, 900)
    window.prefer()
    return window


@pytest.fixture(scope="module")
def cards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one page a theme: a card with a wide photo, and one with a high one."""
    folder = tmp_path_factory.mktemp("cards")
    caption = Caption(
        " ".join(WORDS),
        -1.5,
        tuple(range(5, 13)),
        (-0.1, -1.5, -2.5, -0.2, -0.3, -0.4, -0.1, -0.1),
        tuple(tuple(float(place == word) for place in range(49)) for word in range(8)),
        confidence=0.3,
        alternatives=(Hypothesis("a dog", -1.5), Hypothesis("a cat", -2.0)),
        missing=0.25,
    )
    for theme, colours in COLOURS.items():
        body = "".join(
            card_html(f"{size}", "a.jpg", encode_jpeg(Image.new("RGB", size, "olive"), 90), caption)
            for size in ((900, 600), (300, 900))
        )
        (folder / f"{theme}.html").write_text(
            f'<!doctype html><html lang="en"><title>Cards</title><meta name="viewport" '
            f'content="width=device-width"><style>body {{ margin: 16px; font: 16px sans-serif; '
            f"color: {colours} }} {STYLE}</style><main><h1>Cards</h1>{body}</main></html>",
            encoding="utf-8",
        )
    return folder


def show(browser: Browser, cards: Path, theme: str = "light") -> None:
    browser.open((cards / f"{theme}.html").as_uri())


def seen(browser: Browser) -> list[list[str]]:
    """Of each card the classes of what is visible: overlays and lines."""
    return browser.script(
        "return [...document.querySelectorAll('article')].map(card => "
        "[...card.querySelectorAll('.imgcap-overlay, .imgcap-look')].filter(part => "
        "getComputedStyle(part).visibility === 'visible').map(part => part.className))"
    )


def test_keys_choose_a_word_and_only_in_their_card(browser, cards):
    show(browser, cards)
    first = ["imgcap-overlay imgcap-at-1", "imgcap-look imgcap-at-1"]
    assert seen(browser) == [first, first]  # "brown": all are as peaked, and "a" is short
    browser.press(Keys.TAB)
    assert browser.focused().get_attribute("value") == "1"
    label = "return getComputedStyle(document.activeElement.closest('label')).outlineStyle"
    assert browser.script(label) == "solid"
    browser.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert seen(browser) == [["imgcap-overlay imgcap-at-3", "imgcap-look imgcap-at-3"], first]
    browser.press(Keys.TAB, Keys.ENTER)
    assert browser.script("return document.activeElement.parentElement.open")
    assert "30% likely to be as good as a person’s" in browser.text()
    browser.script("document.querySelectorAll('.imgcap-word')[7].click()")
    assert seen(browser)[0] == ["imgcap-overlay imgcap-at-7", "imgcap-look imgcap-at-7"]


@pytest.mark.parametrize(
    ("width", "height", "scale"), [(390, 844, 1), (320, 568, 2), (427, 300, 3), (1280, 900, 1)]
)
def test_overlay_lies_on_the_photo_and_all_fits(browser, cards, width, height, scale):
    browser.resize(width, height, scale, phone=width < 400)
    show(browser, cards)
    boxes = browser.script(
        "return [...document.querySelectorAll('.imgcap-frame')].map(frame => "
        "[frame.querySelector('.imgcap-photo'), ...frame.querySelectorAll('.imgcap-overlay')].map("
        "part => { const box = part.getBoundingClientRect();"
        "return [box.left, box.top, box.width, box.height] }))"
    )
    for (photo, *overlays), ratio in zip(boxes, (1.5, 1 / 3), strict=True):
        assert len(overlays) == 8 and all(overlay == photo for overlay in overlays)
        assert photo[2] / photo[3] == pytest.approx(ratio, rel=0.01) and photo[3] >= 150
    wide = "return document.documentElement.scrollWidth"
    assert browser.script(wide) <= width
    targets = browser.script(
        "return [...document.querySelectorAll('.imgcap-word')].map(word => "
        "[word.offsetWidth, word.offsetHeight])"
    )
    assert min(min(target) for target in targets) >= 24  # WCAG 2.2, 2.5.8
    if width == 390:
        heights = "return [...document.querySelectorAll('article')].map(card => card.offsetHeight)"
        assert max(browser.script(heights)) < 700  # of 844: an alternative text has room below


def test_choosing_a_word_moves_nothing(browser, cards):
    browser.resize(390, 844, phone=True)
    show(browser, cards)
    place = "return document.querySelector('.imgcap-legend').getBoundingClientRect().top"
    tops = []
    for number in range(len(WORDS)):
        browser.script(f"document.querySelectorAll('.imgcap-word')[{number}].click()")
        tops.append(browser.script(place))
    assert len(set(tops)) == 1


def test_overlays_do_not_fade_for_those_who_prefer_stillness(browser, cards):
    fade = "return getComputedStyle(document.querySelector('.imgcap-overlay')).transitionDuration"
    for still, duration in ((False, "0.15s"), (True, "0s")):
        browser.prefer(still=still)
        show(browser, cards)
        assert browser.script(fade) == duration


@pytest.mark.skipif(bool(AXE_MISSING), reason=AXE_MISSING)
@pytest.mark.parametrize("theme", COLOURS)
def test_nothing_breaks_the_rules_of_wcag(browser, cards, theme):
    show(browser, cards, theme)
    browser.script("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert find_violations(browser) == []
