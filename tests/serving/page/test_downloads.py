"""The captions of a visit as files."""

import csv
import io
import json
from html.parser import HTMLParser

import pytest

from serving.client import Caption
from serving.page.answers.downloads import COLUMNS, make_file, to_csv, to_row
from serving.page.answers.results import Result, Visit
from serving.page.photos.intake import take_in
from serving.page.photos.photo import Photo, file_of
from serving.page.photos.thumbnails import make_thumbnails
from serving.page.settings import Settings
from tests.serving.page.visits import alt_field, draw_jpeg, photo, shown, upload


@pytest.fixture
def visit() -> Visit:
    """A visit with two captioned photos, one of them edited."""
    visit = Visit()
    captions = {"=1+1.jpg": Caption("@sum", -1.0, version=2, seconds=0.5)}
    captions["<b>.jpg"] = Caption('a "dog" & <i>', -0.25, confidence=0.123456, version=2)
    for number, (name, caption) in enumerate(captions.items()):
        content = draw_jpeg(10 + number, 20)
        visit.take(take_in([file_of(name, content)]))
        key = visit.photos[0].digest, Settings("host:1", "imgcap", "", "decode"), 2
        visit.store(key, Result(make_thumbnails(content), caption, ""))
    visit.edits[visit.photos[0].digest] = "my <words>"
    return visit


def test_downloads_are_offered_once_there_is_a_caption(page):
    upload(page, photo(10, 20, "first.jpg"))
    upload(page, photo(30, 40, "second.jpg"))
    assert [button.label for button in page.get("download_button")] == [
        "Download CSV",
        "Download JSON",
        "Download JSONL",
        "Download HTML",
    ]


def test_edited_texts_are_what_downloads_give(page):
    upload(page, photo(10, 20, "first.jpg"))
    alt_field(page).set_value("mine").run()
    upload(page, photo(30, 40, "second.jpg"))
    first, second = json.loads(make_file(page.session_state.visit, "JSON"))
    assert (first["image"], first["alt_text"], first["caption"]) == (
        "first.jpg",
        "mine",
        "10 by 20",
    )
    assert first["edited"] is True and second["edited"] is False
    assert (second["image"], second["alt_text"]) == ("second.jpg", "30 by 40")
    assert "imgcap-edited" in shown(page)


def test_csv_holds_no_formula(visit):
    first, second = csv.DictReader(io.StringIO(make_file(visit, "CSV").decode()))
    assert tuple(first) == COLUMNS
    assert (first["image"], first["caption"]) == ("'=1+1.jpg", "'@sum")
    assert (first["alt_text"], first["confidence"], first["edited"]) == ("'@sum", "", "False")
    assert (second["image"], second["alt_text"], second["edited"]) == (
        "<b>.jpg",
        "my <words>",
        "True",
    )
    assert second["confidence"] == "0.1235" and second["model_version"] == "2"


def test_csv_keeps_commas(visit):
    caption = Caption("a, b", -1.0, version=2, seconds=0.5)
    row = to_row(visit, Photo("a,b.jpg", ""), Result(None, caption, ""))
    (read,) = csv.DictReader(io.StringIO(to_csv([row])))
    assert (read["image"], read["caption"]) == ("a,b.jpg", "a, b")


def test_lines_of_json_are_the_rows(visit):
    lines = make_file(visit, "JSONL").decode().splitlines()
    assert [json.loads(line) for line in lines] == json.loads(make_file(visit, "JSON"))
    assert tuple(json.loads(lines[1])) == COLUMNS


class Reader(HTMLParser):
    """A page of HTML, whose elements must be closed in order.

    Attributes:
        tags: with their attributes.
        text: outside of tags.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_page_of_alt_texts(visit):
    page = make_file(visit, "HTML").decode()
    assert page.startswith("<!DOCTYPE html>") and "http" not in page
    reader = Reader(page)
    names = [tag for tag, _ in reader.tags]
    assert set(names) == {
        *("html", "head", "meta", "title", "style", "body"),
        *("h1", "ul", "li", "img", "p", "small", "bdi"),
    }
    assert reader.tags[0] == ("html", {"lang": "en"})
    assert ("meta", {"charset": "utf-8"}) in reader.tags
    pictures = [attributes for tag, attributes in reader.tags if tag == "img"]
    assert [picture["alt"] for picture in pictures] == ["@sum", "my <words>"]
    assert all(str(picture["src"]).startswith("data:image/jpeg;base64,") for picture in pictures)
    for text in ("my <words>", "<b>.jpg", "edited · unsure: check this one"):
        assert text in reader.text
