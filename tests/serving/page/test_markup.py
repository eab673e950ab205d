"""The card as HTML: parsed as a browser does, and compared with one written by hand."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image

from imgcap.data.pictures import draw_overlay, encode_jpeg
from serving.client import Caption, Hypothesis
from serving.page.answers.markup import card_html, trust_html

VOID = {"img", "input"}
EVEN, PEAK, HALF = (0.25,) * 4, (0.0, 0.0, 1.0, 0.0), (0.5, 0.5, 0.0, 0.0)
PHOTO = encode_jpeg(Image.new("RGB", (80, 40), "olive"), 90)
CAPTION = Caption(
    text="a brown dog",
    score=-1.5,
    tokens=(5, 6, 7),
    token_log_probs=(-0.1, -1.5, -2.5),  # 90, 22 and 8 %
    attention=(PEAK, HALF, EVEN),
    confidence=0.31,
    alternatives=(Hypothesis("a brown dog", -1.5), Hypothesis("a <b>red</b> dog", -2.5)),
    version=4,
    seconds=0.25,
)
PLAIN = replace(CAPTION, token_log_probs=(), attention=(), confidence=None, alternatives=())


class Tree(HTMLParser):
    """A fragment's elements, with their attributes and text; fails if they are not well nested.

    Attributes:
        found: tag, attributes and text of each element in order.
    """

    def __init__(self, fragment: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str], list[str]]] = []
        self._open: list[int] = []
        self.feed(fragment)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes)
        self.found.append((tag, {name: value or "" for name, value in attributes}, []))
        if tag not in VOID:
            self._open.append(len(self.found) - 1)

    def handle_endtag(self, tag):
        assert self.found[self._open.pop()][0] == tag

    def handle_data(self, data):
        for index in self._open:
            self.found[index][2].append(data)

    def all(self, tag: str, style: str = "") -> list[tuple[dict[str, str], str]]:
        """Attributes and text of the elements with this tag and class."""
        return [
            (attributes, "".join(text))
            for name, attributes, text in self.found
            if name == tag and style in ["", *attributes.get("class", "").split()]
        ]


def tree(caption: Caption | None, name="dog.jpg", photo=PHOTO, error="", key="k") -> Tree:
    return Tree(card_html(key, name, photo, caption, error))


def test_a_small_card_as_by_hand():
    caption = Caption("a dog", -0.5, (5, 6), (-0.25, -1.0), version=4, seconds=0.012)
    assert card_html("k", "<1>.jpg", b"", caption) == (
        '<article class="imgcap-card" id="imgcap-8254c329a92850f6" aria-label="&lt;1&gt;.jpg">'
        '<p class="imgcap-caption" dir="auto"><span title="78% sure">a</span> '
        '<span title="37% sure">dog</span></p>'
        '<p class="imgcap-name"><bdi>&lt;1&gt;.jpg</bdi></p>'
        '<details class="imgcap-more"><summary>Details</summary>'
        '<p class="imgcap-facts">score -0.50 · 12 ms · model version 4</p></details></article>'
    )


def test_words_are_radio_buttons_and_the_most_peaked_is_chosen():
    card = tree(CAPTION)
    radios = [attributes for attributes, _ in card.all("input")]
    assert [text for _, text in card.all("label")] == ["a", "brown", "dog"]
    assert {radio["type"] for radio in radios} == {"radio"}
    assert [radio["value"] for radio in radios] == ["0", "1", "2"]
    # "a" is the most peaked, but "brown" the most peaked of the longer words.
    assert [index for index, radio in enumerate(radios) if "checked" in radio] == [1]
    assert [text for _, text in card.all("legend")] == ["Tap a word: where the model looked"]
    assert card.all("div", "imgcap-caption")[0][1] == "a brown dog"
    lines = {attributes["id"]: text for attributes, text in card.all("p", "imgcap-look")}
    assert [lines[radio["aria-describedby"]] for radio in radios] == [
        "a: looked most at the lower left · 90% sure",
        "brown: looked most at the upper left · 22% sure",
        "dog: looked evenly everywhere · 8% sure",
    ]


def test_the_photo_is_described_and_its_overlays_are_silent():
    photo, *overlays = [attributes for attributes, _ in tree(CAPTION).all("img")]
    assert photo["alt"] == "a brown dog" and (photo["width"], photo["height"]) == ("80", "40")
    assert base64.b64decode(photo["src"].removeprefix("data:image/jpeg;base64,")) == PHOTO
    assert [overlay["alt"] for overlay in overlays] == ["", "", ""]
    files = [overlay["src"].removeprefix("data:image/png;base64,") for overlay in overlays]
    assert list(map(base64.b64decode, files)) == list(map(draw_overlay, (PEAK, HALF, EVEN)))
    with Image.open(io.BytesIO(base64.b64decode(files[0]))) as picture:
        assert picture.size == (56, 56)


def test_doubtful_words_are_underlined_and_the_key_says_why():
    card = tree(CAPTION)
    assert [text for _, text in card.all("span", "imgcap-less-sure")] == ["brown", "under 30% sure"]
    assert [text for _, text in card.all("span", "imgcap-guessed")] == ["dog", "under 15% sure"]
    titles = [attributes["title"] for attributes, _ in card.all("span") if "title" in attributes]
    assert titles == ["90% sure", "22% sure", "8% sure"]
    sure = tree(replace(CAPTION, token_log_probs=(-0.1, -0.2, 0.0)))
    assert not sure.all("p", "imgcap-key") and not sure.all("span", "imgcap-less-sure")


@pytest.mark.parametrize(
    ("confidence", "kind", "words", "number"),
    [
        (0.82, "sure", "sure", "82%"),
        (0.31, "fairly-sure", "fairly sure", "31%"),
        (0.02, "unsure", "unsure: check this one", "2%"),
    ],
)
def test_trust_is_in_words_that_open_to_the_number(confidence, kind, words, number):
    trust = Tree(trust_html(confidence))
    (attributes, text), sentence = trust.all("summary")[0], f"{number} likely to be as good as a"
    assert trust.all("details", f"imgcap-{kind}") and "open" not in trust.all("details")[0][0]
    assert text == words and attributes["title"].startswith(sentence)
    assert trust.all("p")[0][1].startswith(sentence) and trust_html(None) == ""


def test_details_are_closed_and_hold_numbers_and_runners_up():
    card = tree(CAPTION)
    (attributes, text) = card.all("details", "imgcap-more")[0]
    assert "open" not in attributes
    assert "score -1.50 · 250 ms · model version 4" in text and "a <b>red</b> dog" in text
    assert card.all("div", "bar")[0][0]["style"] == "width: 37%"  # exp(-2.5 + 1.5)


def test_a_model_that_says_less_gives_a_plainer_card():
    for caption in (PLAIN, replace(PLAIN, attention=((0.5, 0.5, 0.0),) * 3)):  # no square grid
        card = tree(caption)
        assert card.all("p", "imgcap-caption") == [
            ({"class": "imgcap-caption", "dir": "auto"}, "a brown dog")
        ]
        assert len(card.all("img")) == 1
        for absent in ("input", "fieldset", "style", "ul", "span"):
            assert not card.all(absent), absent
    short = tree(replace(CAPTION, attention=(PEAK,)))
    assert not short.all("input")  # attention for one word of three
    no_details = tree(replace(CAPTION, token_log_probs=()))
    assert len(no_details.all("input")) == 3 and not no_details.all("p", "imgcap-key")
    assert no_details.all("p", "imgcap-look")[2][1] == "dog: looked evenly everywhere"
    assert "(no words)" in card_html("k", "a.jpg", PHOTO, replace(PLAIN, text=""))


def test_logarithms_above_0_are_shares_of_1():
    odd = (Hypothesis("a brown dog", -1.0), Hypothesis("a cat", 999.0))
    card = tree(replace(CAPTION, token_log_probs=(1e-7, 999.0, -999.0), alternatives=odd))
    titles = [attributes["title"] for attributes, _ in card.all("span") if "title" in attributes]
    assert titles == ["100% sure", "100% sure", "0% sure"]
    assert card.all("div", "bar")[0][0]["style"] == "width: 100%"


def test_a_cut_off_file_is_said_in_sight():
    card = tree(replace(CAPTION, missing=0.3125))
    assert [text for _, text in card.all("p", "imgcap-missing")] == [
        "The file is cut off: the lower 31% is missing."
    ]


def test_an_error_stands_in_place_of_the_caption():
    card = tree(None, error="The server is <busy>.")
    assert card.all("p", "imgcap-note") == [
        ({"class": "imgcap-note", "role": "alert"}, "The server is <busy>.")
    ]
    assert card.all("img")[0][0]["alt"] == "The photograph dog.jpg" and not card.all("input")
    assert not tree(None, photo=b"", error="no image").all("img")


def test_cards_of_one_photo_share_no_id_and_no_group():
    cards = [tree(CAPTION, key=key) for key in ("a", "b", "a b", "\ud800")]
    ids = [
        attributes["id"] for card in cards for _, attributes, _ in card.found if "id" in attributes
    ]
    groups = {card.all("input")[0][0]["name"] for card in cards}
    assert len(set(ids)) == len(ids) == 16 and len(groups) == 4
    assert all(re.fullmatch(r"imgcap-[0-9a-f]{16}(-\d+)?", name) for name in ids)


HOSTILE = "\"><script>alert(1)</script><img/src=x onerror=alert(1)> &lt; ' </style>"


def test_what_strangers_wrote_is_text():
    words = HOSTILE.split()
    caption = replace(
        CAPTION,
        text=HOSTILE,
        tokens=tuple(range(40)),
        token_log_probs=(-0.1,) * 40,
        attention=(PEAK,) * 40,
        alternatives=(Hypothesis(HOSTILE, -1.0), Hypothesis(HOSTILE, -2.0)),
    )
    for card in (
        tree(caption, name=HOSTILE, key=HOSTILE),
        tree(None, name=HOSTILE, error=HOSTILE, key=HOSTILE),
    ):
        tags = {tag for tag, _, _ in card.found}
        assert not tags & {"script", "b", "i", "iframe"}
        names = {name for _, attributes, _ in card.found for name in attributes}
        assert not [name for name in names if name.startswith("on")]
        assert card.all("p", "imgcap-name")[0][1] == HOSTILE
        assert {img["src"][:11] for img, _ in card.all("img")} == {"data:image/"}
    card = tree(caption, name=HOSTILE)
    assert [text for _, text in card.all("label")] == words and card.all("img")[0][0][
        "alt"
    ] == HOSTILE


@pytest.mark.parametrize(
    ("text", "tokens", "words"),
    [
        ("一只狗在跑", 5, list("一只狗在跑")),  # no space between words
        ("كلب بني يجري", 3, ["كلب", "بني", "يجري"]),
        ("dog and dog", 3, ["dog", "and", "dog"]),
    ],
)
def test_words_of_other_scripts_and_words_that_come_twice(text, tokens, words):
    numbers = tuple(range(5, 5 + tokens))
    caption = replace(PLAIN, text=text, tokens=numbers, attention=(EVEN,) * (tokens - 1) + (PEAK,))
    card = tree(caption)
    line = card.all("div", "imgcap-caption")[0]
    assert line == ({"class": "imgcap-caption", "dir": "auto"}, text)
    assert [label for _, label in card.all("label")] == words
    assert sum("checked" in radio for radio, _ in card.all("input")) == 1
