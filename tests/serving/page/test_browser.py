"""The page in a real browser, before a real embedded server with the toy model."""

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.support.browser import MISSING, Browser
from tests.support.paths import ROOT
from tests.support.servers import free_port
from tests.support.toy_model import serve, write_toy_model

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"{' and '.join(MISSING)} not installed")

APP = ROOT / "app.py"


@pytest.fixture(scope="module")
def base_path(tmp_path_factory) -> Path:
    base_path = tmp_path_factory.mktemp("models") / "imgcap"
    write_toy_model(base_path / "1")
    return base_path


@pytest.fixture(scope="module")
def photo(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "photo.jpg"
    Image.effect_noise((320, 240), 60).convert("RGB").save(path)
    return path


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def page(port) -> Iterator[tuple[str, int]]:
    """The page's address, and the number of its process."""
    own = free_port()
    flags = [
        f"--server.port={own}",
        "--server.headless=true",
        "--server.fileWatcherType=none",
        "--browser.gatherUsageStats=false",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", str(APP), *flags],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"IMGCAP_SERVER": f"localhost:{port}"},
    )
    yield f"http://localhost:{own}", process.pid
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def browser(page) -> Iterator[Browser]:
    browser = Browser()
    browser.wait(lambda: answers(page[0]))
    yield browser
    browser.close()


def answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(f"{url}/_stcore/health", timeout=5).status == 200
    except OSError:
        return False


def test_a_visit(browser, page, base_path, photo, port, tmp_path):
    url, number = page
    size = photo.stat().st_size
    with serve(base_path, port=port):
        started = time.monotonic()
        browser.open(url)
        browser.wait(lambda: "imgcap version 1 is ready" in browser.text())
        assert time.monotonic() - started < 10  # two seconds where nothing else runs
        assert browser.script("return document.title").startswith("imgcap")

        browser.type("input[type=file]", str(photo))
        browser.wait(lambda: f'alt="an image of {size} bytes"' in browser.text())
        assert browser.script(
            "return [...document.images].some(i => i.alt === arguments[0] && i.naturalWidth > 0)",
            f"an image of {size} bytes",
        )
        assert re.search(r"score -\d+\.\d\d · \d+ ms · model version 1", browser.text())
        assert "I think" in browser.text()  # a runner-up
        tints = browser.script(
            "return document.querySelectorAll('.imgcap-caption span[title]').length"
        )
        assert tints == 5  # words

        (tmp_path / "<b>bad</b>.jpg".replace("/", "_")).write_text("no image at all")
        browser.type("input[type=file]", str(next(tmp_path.iterdir())))
        browser.wait(lambda: "This file can’t be captioned: not an image" in browser.text())
        assert "<b>bad<_b>.jpg" in browser.text()  # as text

    browser.open(url)
    browser.wait(lambda: f"No model server answers at localhost:{port}" in browser.text())
    browser.wait(lambda: f"imgcap-serve --port={port}" in browser.text())
    with serve(base_path, port=port):
        browser.click("Try again")
        browser.wait(lambda: "imgcap version 1 is ready" in browser.text())
        browser.type("input[type=file]", str(photo))
        browser.wait(lambda: f'alt="an image of {size} bytes"' in browser.text())

    status = Path(f"/proc/{number}/status")
    if status.exists():
        assert int(re.search(r"VmRSS:\s+(\d+)", status.read_text())[1]) / 1024 <= 250


def test_narrow_screen_needs_no_sideways_scrolling(browser, page, base_path, port, photo):
    with serve(base_path, port=port):
        browser.resize(500, 900)  # as narrow as Chromium's window gets
        browser.open(page[0])
        browser.type("input[type=file]", str(photo))
        browser.wait(lambda: "bytes" in browser.text())
        assert not browser.script(
            "const main = document.querySelector('[data-testid=stMain]');return main.scrollWidth > "
            "main.clientWidth + 1"
        )


def test_everything_has_a_name_for_those_who_listen(browser, page, base_path, port):
    with serve(base_path, port=port):
        browser.open(page[0])
        browser.wait(lambda: "is ready" in browser.text())
        nameless = browser.script(
            "return [...document.querySelectorAll('[data-testid=stMain] button, "
            "[data-testid=stMain] img, [data-testid=stMain] input:not([type=file])')].filter(e => "
            "!(e.innerText || e.alt || e.ariaLabel || e.title || e.labels?.length || "
            "e.getAttribute('aria-labelledby'))).map(e => e.outerHTML.slice(0, 200))"
        )
        assert nameless == []


def test_nothing_for_developers_on_the_page(browser, page, base_path, port):
    with serve(base_path, port=port):
        browser.open(page[0])
        browser.wait(lambda: "is ready" in browser.text())
        assert "Deploy" not in browser.text()
