"""The contact sheet, read back with the standard library's HTML parser and with Pillow."""

import base64
import dataclasses
import hashlib
import io
import os
import re
from datetime import date
from html.parser import HTMLParser

import pytest
from PIL import Image

from imgcap.config import DecodeConfig
from imgcap.evaluation.report.contact_sheet import (
    THUMBNAIL_SIZE,
    Entry,
    select_ranks,
    write_contact_sheet,
)

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>{style}&amp; \'" </figure>'


class Page(HTMLParser):
    """Tags, pictures, alternative texts, scripts, styles and all text of a page."""

    def __init__(self, path):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.text, self.images = [], [], "", []
        self.code = {"script": [], "style": []}
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag == "img":
            self.images.append(dict(attributes))

    def handle_data(self, data):
        if self.cdata_elem:
            self.code[self.cdata_elem].append(data)
        else:
            self.text += data

    def open_image(self, number):
        head, content = self.images[number]["src"].split(",", 1)
        assert head == "data:image/jpeg;base64"
        return Image.open(io.BytesIO(base64.b64decode(content, validate=True)))


def draw_image(size=(64, 48), color="red", image_format="JPEG", mode="RGB", **options):
    file = io.BytesIO()
    Image.new(mode, size, color).save(file, image_format, **options)
    return file.getvalue()


def make_entry(
    name, score, caption="a dog runs", references=("a dog runs fast",), image_bytes=None
):
    return Entry(
        name, draw_image() if image_bytes is None else image_bytes, caption, references, score
    )


def write_page(tmp_path, entries, title="Captions", scores=None, **options):
    path = tmp_path / "contact_sheet.html"
    write_contact_sheet(path, entries, title, scores or {}, **options)
    assert os.listdir(tmp_path) == [path.name]
    return Page(path)


def test_entries_stand_from_best_to_worst_with_all_they_hold(tmp_path):
    entries = [
        make_entry("low.jpg", 3.04, "a cat", ["one cat"]),
        make_entry("high.jpg", 120.0, "two men", ["both men", "a pair"]),
        make_entry("b.jpg", 50.0),
        make_entry("a.jpg", 50.0),
    ]
    page = write_page(tmp_path, entries, "Run one")
    places = [page.text.index(name) for name in ("high.jpg", "a.jpg", "b.jpg", "low.jpg")]
    assert places == sorted(places)
    for text in (
        "Run one",
        "CIDEr 120.0",
        "CIDEr 3.0",
        "#1",
        "#4",
        "two men",
        "both men",
        "a pair",
        "one cat",
    ):
        assert text in page.text
    assert [image["alt"] for image in page.images] == [
        "two men",
        "a dog runs",
        "a dog runs",
        "a cat",
    ]
    assert "All 4 images, from the best caption to the worst by CIDEr." in page.text


def test_hostile_texts_stay_texts(tmp_path):
    scores = {"cider": 1.0, "constant_caption": {"caption": HOSTILE, "cider": 0.5}}
    entry = make_entry(HOSTILE, 1.0, HOSTILE, [HOSTILE])
    page = write_page(tmp_path, [entry], HOSTILE, scores)
    plain = write_page(
        tmp_path,
        [make_entry("x", 1.0)],
        "x",
        {"cider": 1.0, "constant_caption": {"caption": "x", "cider": 0.5}},
    )
    assert page.tags == plain.tags
    # The page's own script alone, and no word of the texts in it or in the styles.
    assert page.tags.count("script") == 1
    assert page.code == plain.code
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    # Title twice, caption, reference, name, and the constant caption.
    assert page.text.count(HOSTILE) == 6
    assert page.images[0]["alt"] == HOSTILE


def test_the_page_needs_nothing_but_itself(tmp_path):
    page = write_page(tmp_path, [make_entry("x.jpg", 1.0)])
    assert not {"link", "iframe", "object", "form", "base"} & set(page.tags)
    assert all(
        value.startswith("data:") or (name == "href" and value.startswith("#"))
        for name, value in page.attributes
        if name in ("src", "href", "srcset")
    )
    # The script is in the page, not loaded.
    assert page.tags.count("script") == len(page.code["script"]) == 1
    assert "http:" not in page.source and "https:" not in page.source and "url(" not in page.source
    # What may run and style is named by its hash: nothing that a caption holds, if it got so far.
    hashes = {
        kind: " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for text in texts
        )
        for kind, texts in page.code.items()
    }
    assert (
        "content",
        f"default-src 'none'; img-src data:; style-src {hashes['style']}; script-src "
        f"{hashes['script']}; base-uri 'none'; form-action 'none'",
    ) in page.attributes
    assert "style" not in dict(page.attributes)


def test_pictures_are_small_upright_and_on_white(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures = [
        draw_image((1000, 500), "blue"),
        draw_image((200, 100), exif=exif),
        draw_image((10, 10), (0, 0, 0, 0), "PNG", "RGBA"),
        draw_image((30, 20), 5, "PNG", "P"),
        draw_image((30, 20), 40, mode="L"),
        draw_image((1, 1), image_format="BMP"),
    ]
    entries = [
        make_entry(str(place), -place, image_bytes=content)
        for place, content in enumerate(pictures)
    ]
    page = write_page(tmp_path, entries)
    sizes = [page.open_image(number).size for number in range(len(pictures))]
    assert sizes == [
        (THUMBNAIL_SIZE, THUMBNAIL_SIZE // 2),
        (100, 200),
        (10, 10),
        (30, 20),
        (30, 20),
        (1, 1),
    ]
    assert page.open_image(0).getpixel((9, 9))[2] > 240
    assert page.open_image(2).getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize(
    "content", [b"", b"no image at all", draw_image((300, 300))[:700], b"\x89PNG\r\n\x1a\n" * 9]
)
def test_an_unreadable_image_leaves_a_placeholder(tmp_path, content):
    page = write_page(
        tmp_path, [make_entry("bad.jpg", 2.0, image_bytes=content), make_entry("good.jpg", 1.0)]
    )
    assert page.text.count("This image can\u2019t be read.") == 1
    assert "bad.jpg" in page.text
    assert len(page.images) == 1


def test_scores_stand_with_their_intervals_and_the_floor(tmp_path):
    scores = {
        "bleu_1": 57.46,
        "rouge_l": 41.43,
        "cider": 38.11,
        "intervals": {"cider": [35.02, 41.23]},
        "constant_caption": {"caption": "a dog", "bleu_1": 41.07, "rouge_l": 27.89, "cider": 14.25},
    }
    page = write_page(tmp_path, [make_entry("x.jpg", 1.0)], scores=scores)
    for text in (
        "BLEU-1",
        "ROUGE-L",
        "57.5",
        "38.1 35.0\u201341.2",
        "one caption for every image: \u201ca dog\u201d",
        "14.2",
    ):
        assert text in page.text
    assert "BLEU-4" not in page.text
    assert "table" not in write_page(tmp_path, [make_entry("x.jpg", 1.0)]).tags


def test_of_many_images_the_best_the_worst_and_an_even_spread_are_shown(tmp_path):
    entries = [make_entry(f"{place:03}.jpg", 100.0 - place, image_bytes=b"") for place in range(50)]
    page = write_page(tmp_path, entries, max_entries=10)
    assert "10 of 50 images" in page.text
    assert "the 3 best, the 3 worst, and 4 evenly spread over the ranks between." in page.text
    shown = [entry.image_id for entry in entries if entry.image_id in page.text]
    assert re.findall(r"<h2>(.*?)</h2>", page.source) == [
        "The 3 best",
        "4 evenly spread over ranks 4 to 47",
        "The 3 worst",
    ]
    # 44 ranks lie between; the middles of their quarters are 3 + 5.5, 16.5, 27.5, 38.5.
    assert shown == [f"{place:03}.jpg" for place in (0, 1, 2, 8, 19, 30, 41, 47, 48, 49)]


@pytest.mark.parametrize(
    ("count", "limit"), [(0, 5), (5, 5), (6, 5), (1000, 200), (7, 1), (7, 2), (201, 200)]
)
def test_selected_ranks_are_distinct_and_as_many_as_allowed(count, limit):
    ranks = select_ranks(count, limit)
    assert ranks == sorted(set(ranks))
    assert len(ranks) == min(count, limit)
    assert all(0 <= rank < count for rank in ranks)


def test_the_head_says_what_was_captioned_how_and_when(tmp_path):
    options = DecodeConfig(beam_width=5)
    scores = {
        "run": "first",
        "step": 12_345,
        "split": "dev",
        "images": 1000,
        "decode": dataclasses.asdict(options),
        "data": "d4ta",
        "vocabulary": "w0rds",
        "imgcap_version": "9.9",
    }
    page = write_page(tmp_path, [], scores=scores, written=date(2026, 1, 2))
    for text in (
        "Runfirst, step 12,345",
        "Splitdev, 1,000 images",
        "Searchbeam width 5",
        "Date2026-01-02",
        "imgcap9.9",
        "--search=beam --beam_width=5 --length_normalisation=wu --length_penalty=0.7 "
        "--min_length=0 --max_length=20 --block_ngrams=0data d4tavocabulary w0rds",
    ):
        assert text in page.text
    assert "dl" not in write_page(tmp_path, []).tags


def test_confidence_is_said_in_words_and_orders_the_images(tmp_path):
    entries = [
        dataclasses.replace(make_entry(f"{name}.jpg", score), confidence=confidence)
        for name, score, confidence in (
            ("a", 90.0, 0.25),
            ("b", 80.0, 0.2499),
            ("c", 70.0, 0.5),
            ("d", 60.0, 0.1),
            ("e", 50.0, None),
        )
    ]
    page = write_page(tmp_path, entries)
    assert re.findall(r"#\d(\D+ \d+%)?CIDEr", page.text) == [
        "Fairly sure 25%",
        "Unsure 25%",
        "Sure 50%",
        "Unsure 10%",
        "",
    ]
    assert "All Sure 1 Fairly sure 1 Unsure 2" in " ".join(page.text.split())
    order = re.findall(r"#(image-\d){--place: (\d)}", "".join(page.code["style"]))
    assert order == [(f"image-{rank}", str(place)) for place, rank in enumerate((3, 1, 2, 4, 5))]
    jumps = re.findall(r'<a id="to-(\w+)" href="#(image-\d)">', page.source)
    assert jumps == [("best", "image-1"), ("worst", "image-5"), ("unsure", "image-2")]
    # Without confidences there is nothing to sort by, and nobody is unsure.
    plain = write_page(tmp_path, [make_entry("x.jpg", 1.0)])
    assert "fieldset" not in plain.tags
    assert ("id", "to-unsure") not in plain.attributes
    assert ("id", "to-worst") in plain.attributes


def test_the_second_best_caption_stands_below_the_best(tmp_path):
    entry = dataclasses.replace(make_entry("x.jpg", 1.0), runner_up="a wolf <runs>")
    page = write_page(tmp_path, [entry])
    assert "a dog runsRunner-up a wolf <runs>People wrotea dog runs fastx.jpg" in page.text
    several = dataclasses.replace(entry, others=["one", "two"])
    assert "Runner-up onetwoPeople" in write_page(tmp_path, [several]).text


def test_empty_sheets_and_captions_are_legal(tmp_path):
    assert "All 0 images" in write_page(tmp_path, []).text
    page = write_page(tmp_path, [make_entry("x.jpg", 0.0, caption=" ", references=[])])
    assert "no words" in page.text


def test_a_name_that_is_no_utf8_is_shown_as_far_as_it_goes(tmp_path):
    assert "caf?.jpg" in write_page(tmp_path, [make_entry(os.fsdecode(b"caf\xe9.jpg"), 1.0)]).text


def test_an_old_sheet_is_replaced(tmp_path):
    write_page(tmp_path, [make_entry("old.jpg", 1.0)])
    assert "old.jpg" not in write_page(tmp_path, [make_entry("new.jpg", 1.0)]).text
