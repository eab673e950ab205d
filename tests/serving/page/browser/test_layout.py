"""Where things are on the screen: phones, zoom, and nothing that jumps about."""

from tests.support.browser import Browser, cumulative_layout_shift, cut_off, moves, sights
from tests.support.browser.page import write_photo

FILES = "input[type=file]"
PHONE = (390, 844, 2)


def box(browser: Browser, css: str) -> dict[str, float]:
    """Where the first such element is, from the window's upper left corner."""
    return browser.script(
        "return document.querySelector(arguments[0]).getBoundingClientRect().toJSON()", css
    )


def test_narrow_screen_needs_no_sideways_scrolling(browser, server, page, sure):
    browser.resize(500, 900)
    browser.open(page.url)
    browser.find_out("version 1 is ready")
    browser.type(FILES, str(sure))
    browser.find_out(f"an image of {sure.stat().st_size} bytes")
    assert not browser.script(
        "const main = document.querySelector('[data-testid=stMain]');return main.scrollWidth > "
        "main.clientWidth + 1"
    )


def test_nothing_is_cut_off_at_300_percent(browser, server, page, unsure):
    browser.resize(427, 300, 3)  # of a window of 1280 by 900
    browser.open(page.url)
    browser.find_out("version 1 is ready")
    assert cut_off(browser) == []
    browser.type(FILES, str(unsure))
    browser.find_out(f"an image of {unsure.stat().st_size} bytes")
    assert cut_off(browser) == []


def test_a_sample_on_the_phone_leads_to_its_caption(browser, server, page):
    browser.resize(*PHONE, phone=True)
    browser.open(page.url)
    browser.click("Park")
    browser.await_element(".imgcap-words")
    browser.wait(lambda: 0 <= box(browser, ".imgcap-words")["top"] < PHONE[1] / 2)
    # One card, one screen: from the caption to the legend below the photo.
    card = [box(browser, f".imgcap-card {part}") for part in (".imgcap-words", ".imgcap-legend")]
    assert card[1]["bottom"] - card[0]["top"] <= PHONE[1]
    assert cut_off(browser) == []


def test_nothing_jumps_while_fifty_answers_come(browser, server, page, tmp_path):
    browser.open(page.url)
    browser.find_out("version 1 is ready")
    photos = [write_photo(tmp_path / f"{i:02d}.jpg", 2 * i, (96, 64)) for i in range(50)]
    browser.type(FILES, "\n".join(map(str, photos)))
    for photo in photos:
        browser.find_out(f"an image of {photo.stat().st_size} bytes")
    shifts = moves(browser)
    assert cumulative_layout_shift(shifts) <= 0.1, shifts
    # A second on a machine that does nothing else: tests/bench/serving/page.py has the number.
    assert sights(browser).first < 5000


def test_rows_of_a_gallery_stand_close(browser, server, page, tmp_path):
    """A window higher than the gallery does not pull its rows apart."""
    browser.resize(1280, 1600)
    browser.open(page.url)
    browser.find_out("version 1 is ready")
    photos = [write_photo(tmp_path / f"{i}.jpg", 10 * i, (96, 64)) for i in range(9)]
    browser.type(FILES, "\n".join(map(str, photos)))
    browser.see("9 photographs:")
    tops, bottoms = browser.script(
        "const cells = [...document.querySelectorAll('[class*=st-key-cell-]')]"
        ".map(e => e.getBoundingClientRect());"
        "return [cells.map(box => box.top), cells.map(box => box.bottom)]"
    )
    rows = sorted(set(tops))
    assert len(rows) > 1
    assert rows[1] - min(bottoms) <= 20
