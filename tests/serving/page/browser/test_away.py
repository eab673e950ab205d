"""The page while no model server answers; no test here may start one."""

import pytest

from tests.support.browser import AXE_MISSING, cut_off, find_violations


@pytest.mark.skipif(bool(AXE_MISSING), reason=AXE_MISSING)
def test_axe_finds_nothing(browser, page):
    browser.open(page.url)
    browser.see("No model server answers")
    found = []
    for dark in (False, True):
        browser.prefer(dark=dark)
        found += find_violations(browser)
    assert found == []


def test_the_command_is_whole_on_a_phone(browser, page, port):
    browser.resize(390, 844, 2, phone=True)
    browser.open(page.url)
    browser.see(f"imgcap-serve --port={port}")
    assert cut_off(browser) == []
