"""Visits from the first sight to the last download, before a real embedded server."""

import re
import time
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.browser import requests
from tests.support.browser.cable import cable_to
from tests.support.browser.page import run_page, write_photo
from tests.support.toy_model import serve

FILES = "input[type=file]"
NAMES = "return [...document.querySelectorAll('.imgcap-cell-name')].map(e => e.textContent)"


def shown_image(size: int) -> str:
    """JavaScript: whether the page shows the image of so many bytes, captioned."""
    return (
        f"return [...document.images].some(i => i.alt === 'an image of {size} bytes' && "
        "i.naturalWidth > 0)"
    )


def test_a_visit(browser, page, base_path, sure, port, tmp_path):
    size = sure.stat().st_size
    with serve(base_path, port=port):
        started = time.monotonic()
        browser.open(page.url)
        browser.find_out("imgcap version 1 is ready")
        assert time.monotonic() - started < 10  # two seconds where nothing else runs
        assert browser.script("return document.title").startswith("imgcap")

        browser.type(FILES, str(sure))
        browser.wait(lambda: browser.script(shown_image(size)))
        browser.click_at(".imgcap-more summary")
        assert re.search(r"score -\d+\.\d\d · \d+ ms · model version 1", browser.text())
        assert "I think" in browser.text()  # a runner-up
        assert len(browser.find(".imgcap-caption label")) == 5  # words

        bad = tmp_path / "<b>bad<_b>.jpg"
        bad.write_text("no image at all")
        browser.type(FILES, str(bad))
        browser.see("This file can’t be captioned: not an image")
        assert "<b>bad<_b>.jpg" in browser.text()  # as text

    browser.open(page.url)
    browser.see(f"No model server answers at localhost:{port}")
    browser.see(f"imgcap-serve --port={port}")
    with serve(base_path, port=port):
        browser.click("Try again")
        browser.find_out("imgcap version 1 is ready")
        browser.type(FILES, str(sure))
        browser.wait(lambda: browser.script(shown_image(size)))

    status = Path(f"/proc/{page.process}/status")
    if status.exists():
        assert int(re.search(r"VmRSS:\s+(\d+)", status.read_text())[1]) / 1024 <= 250


def test_nothing_for_developers_on_the_page(visit):
    assert "Deploy" not in visit.text()


def test_nothing_leaves_for_other_hosts_and_nothing_fails(visit, page, sure):
    visit.type(FILES, str(sure))
    visit.wait(lambda: visit.script(shown_image(sure.stat().st_size)))
    asked = [urlsplit(url) for url in requests(visit)]
    assert {url.netloc for url in asked if url.scheme not in ("data", "blob", "about")} == {
        urlsplit(page.url).netloc
    }
    assert any(url.scheme == "ws" for url in asked)
    assert [entry for entry in visit.log("browser") if entry["level"] == "SEVERE"] == []


def test_under_the_path_of_a_reverse_proxy(browser, server, port, sure):
    with run_page(f"localhost:{port}", "captions") as page:
        browser.open(page.url)
        browser.find_out("version 1 is ready")
        browser.type(FILES, str(sure))
        browser.wait(lambda: browser.script(shown_image(sure.stat().st_size)))
        asked = [urlsplit(url) for url in requests(browser)]
        paths = [url.path for url in asked if url.scheme in ("http", "ws")]
        assert paths and all(path.startswith("/captions") for path in paths)


def test_two_files_of_one_name(visit, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = write_photo(tmp_path / "a" / "photo.jpg", 91)
    second = write_photo(tmp_path / "b" / "photo.jpg", 64)
    visit.type(FILES, f"{first}\n{second}")
    for photo in (first, second):
        visit.find_out(f"an image of {photo.stat().st_size} bytes")
    assert sorted(visit.script(NAMES)) == ["photo.jpg", "photo.jpg (2)"]


def test_a_folder(visit, tmp_path):
    visit.click_at(".st-key-folder_on label")
    visit.await_element("input[webkitdirectory]")
    (tmp_path / "holiday" / "day 1").mkdir(parents=True)
    photos = [
        write_photo(tmp_path / "holiday" / name, percent)
        for name, percent in (("first.jpg", 91), ("day 1/second.jpg", 64))
    ]
    visit.type("input[webkitdirectory]", str(tmp_path / "holiday"))
    for photo in photos:
        visit.find_out(f"an image of {photo.stat().st_size} bytes")
    assert sorted(visit.script(NAMES)) == ["first.jpg", "second.jpg"]


def test_an_archive(visit, tmp_path, sure, unsure):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.write(sure, "holiday/photo.jpg")
        archive.write(unsure, "holiday/other.jpg")
        archive.writestr("holiday/notes.txt", "sunny")
    visit.type(FILES, str(tmp_path / "photos.zip"))
    for photo in (sure, unsure):
        visit.find_out(f"an image of {photo.stat().st_size} bytes")


def test_a_visit_goes_on_when_the_connection_was_cut(browser, server, page, sure, unsure):
    with cable_to(urlsplit(page.url).port) as cable:
        browser.open(f"http://localhost:{cable.port}")
        browser.find_out("version 1 is ready")
        browser.type(FILES, str(sure))
        browser.wait(lambda: browser.script(shown_image(sure.stat().st_size)))
        cable.cut()
        browser.see("Connection error")
        cable.mend()
        browser.wait(lambda: "Connection error" not in browser.text())
        assert browser.script(shown_image(sure.stat().st_size))
        browser.type(FILES, str(unsure))
        for photo in (sure, unsure):
            browser.find_out(f"an image of {photo.stat().st_size} bytes")
