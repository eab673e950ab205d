"""The contact sheet in a real browser, opened from its file: keys, filter, contrast and width."""

import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from selenium.webdriver.common.keys import Keys

from imgcap.config import DecodeConfig
from imgcap.evaluation.report.contact_sheet import Entry, write_contact_sheet
from tests.support.browser import AXE_MISSING, MISSING, Browser, find_violations

pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"no {' and no '.join(MISSING)} on this machine"
)

# Caption, references, CIDEr and confidence; the best first.
ROWS = (
    ("a dog runs", ("a dog runs fast", "the Dog!"), 250.0, 0.3),
    ("a woman sits", ("a woman on a bench",), 120.0, 0.8),
    ("a black dog swims", ("a cat (wet)", "one cat"), 20.0, 0.6),
    ("a man jumps", ("a hotdog stand",), 10.0, 0.1),
    ("狗 在 跑", ("一只狗在跑",), 0.0, 0.2),
)
SHOWN = """
return [...document.querySelectorAll('.card')].filter(card => card.checkVisibility())
  .map(card => Number(card.id.slice(6)))
"""
COUNT = "return document.getElementById('count').textContent"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
def sheet(tmp_path: Path, browser: Browser) -> str:
    """The address of a sheet of five images, in a window that runs scripts."""
    content = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(content, "JPEG")
    entries = [
        Entry(f"{place}.jpg", content.getvalue(), caption, references, score, (), confidence, "a x")
        for place, (caption, references, score, confidence) in enumerate(ROWS)
    ]
    scores = {"run": "first", "split": "dev", "decode": dataclasses.asdict(DecodeConfig())}
    scores |= {name: 12.3 for name in ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider")}
    path = tmp_path / "sheet #1.html"
    write_contact_sheet(path, entries, "first: dev", scores)
    browser.log("browser")
    browser.command("Emulation.setScriptExecutionDisabled", value=False)
    browser.resize(1280, 900)
    return path.as_uri()


def go_back(browser: Browser, stops: int) -> None:
    """Moves the focus back, as Shift and Tab do."""
    for _ in range(stops):
        browser.focused().send_keys(Keys.SHIFT, Keys.TAB)


def test_a_word_and_the_jumps_find_images(sheet: str, browser: Browser) -> None:
    browser.open(sheet)
    assert browser.script(SHOWN) == [1, 2, 3, 4, 5]
    assert browser.script(COUNT) == "5 of 5 images"
    field = browser.tab_to("Word", "searchbox")
    # "hotdog" does not begin with it, and "a x" is no caption that was given.
    field.send_keys("dog")
    assert browser.script(SHOWN) == [1, 3]
    assert browser.script(COUNT) == "2 of 5: “dog” in 2 captions, in references of 1"
    assert browser.script("return [...CSS.highlights.get('word')].map(String)") == [
        *("dog", "dog", "Dog", "dog")
    ]
    # By keyboard alone: back to the links, which lead to images that are shown; none is unsure.
    go_back(browser, 1)
    browser.press(Keys.ENTER)
    assert browser.focused().get_attribute("id") == "image-3"
    field.clear()
    field.send_keys("狗")
    assert browser.script(SHOWN) == [5]
    field.clear()
    field.send_keys("(wet")
    assert browser.script(SHOWN) == [3]
    field.clear()
    field.send_keys("nothing")
    assert browser.script(SHOWN) == []
    assert browser.script("return document.querySelectorAll('nav a[href]').length") == 0
    field.send_keys(Keys.ESCAPE)
    browser.wait(lambda: browser.script(COUNT) == "5 of 5 images")
    # The first of the unsure ones, in the order of confidence.
    go_back(browser, 1)
    browser.press(Keys.ENTER)
    assert browser.focused().get_attribute("id") == "image-5"
    assert browser.script(SHOWN) == [2, 3, 1, 5, 4]
    browser.click_at("#show-sure")
    assert browser.script(SHOWN) == [2, 3]
    assert browser.script(COUNT) == "2 of 5"
    browser.click_at("#by-cider")
    browser.click_at("#show-all")
    assert browser.script(SHOWN) == [1, 2, 3, 4, 5]
    assert not browser.log("browser")


def test_without_scripts_all_is_there_and_sorts(sheet: str, browser: Browser) -> None:
    browser.command("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(sheet)
    assert not browser.script("return document.getElementById('words').checkVisibility()")
    assert browser.script(SHOWN) == [1, 2, 3, 4, 5]
    browser.click_at("#by-confidence")
    places = "return [...document.querySelectorAll('.card')].map(card => card.offsetLeft)"
    lefts = browser.script(places)
    assert sorted(range(1, 6), key=lambda number: (number in (4, 5), lefts[number - 1]))[:3] == [
        *(2, 3, 1)
    ]
    browser.click_at("#show-unsure")
    assert browser.script(SHOWN) == [4, 5]
    browser.click_at("#to-worst")
    assert browser.focused().get_attribute("id") == "image-5"


@pytest.mark.skipif(bool(AXE_MISSING), reason=AXE_MISSING)
def test_everybody_can_read_it(sheet: str, browser: Browser) -> None:
    browser.open(sheet)
    browser.script("document.querySelector('details').open = true")
    for dark in (False, True):
        browser.prefer(dark=dark)
        assert not find_violations(browser)
    browser.resize(390, 844, phone=True)
    assert not find_violations(browser)
    assert browser.script("return document.documentElement.scrollWidth") == 390
    browser.prefer()
