"""Many visitors of the page at once: hostile file names and captions, photos that come and go.

The sessions take turns in random order, each with several photos of its own; some vanish in the
middle of a turn. Nothing that a visitor or the model wrote may become markup, and no session may
show what belongs to another one. A fake server answers at once, with captions as hostile as names.
"""

import io
import os
import random
import re
from html.parser import HTMLParser

import grpc
from PIL import Image
from streamlit.testing.v1 import AppTest

from imgcap.host.progress import Progress
from serving.page.main import STYLE
from serving.wire import wire_pb2
from tests.campaign.figures import Row, Tally
from tests.support.fake_server import answer_for, numbers, serving, states_of
from tests.support.paths import ROOT

SIZE = 50
SESSIONS = 20
SHEET = f"<style>{STYLE.read_text(encoding='utf-8')}</style>"
"""The page's own style sheet, as it stands on it."""

VANISHING = 0.1
"""Share of the turns after which a session is gone for good."""

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><b onmouseover="alert(1)">',
    "</p></div><style>*{display:none}</style>",
    "[link](javascript:alert(1)) **bold** `code` $x^2$ :red[red]",
    "<!-- comment",
    "&lt;b&gt; &amp; &#60;i&#62;",
    "\u202egpj.exe\u202c \u2066isolated\u2069",
    "שלום \u200f עולם",
    "tab\tline\nreturn\rnull\x00bell\x07escape\x1b[31m",
    "\u2028line\u2029paragraph\ufeff",
    "../../etc/passwd",
    "{title} %s ${HOME} {{7*7}}",
    "a" * 300,
)
_TAGS = {
    *("article", "bdi", "details", "div", "fieldset", "figcaption", "figure", "img", "input"),
    *("label", "legend", "li", "p", "small", "span", "style", "summary", "ul"),
}
_CARD = "imgcap-[0-9a-f]{16}"
_ATTRIBUTES = {
    **dict.fromkeys(("alt", "aria-label", "title"), ".*"),  # names and captions, as text
    "aria-describedby": rf"{_CARD}-\d+",
    "aria-hidden": "true",
    "checked": "",
    "class": "(imgcap-[a-z0-9-]+|bar)( imgcap-[a-z0-9-]+)*",
    "data-arrival": r"\d+",
    "dir": "auto",
    "height": r"\d+",
    "id": rf"{_CARD}(-\d+)?",
    "name": _CARD,
    "role": "alert|status",
    "src": "data:image/(jpeg|png);base64,[A-Za-z0-9+/=]+",
    "style": r"width: \d+%|--width: \d+; --height: \d+|"
    r"background: linear-gradient\(to right, (#[0-9a-f]{6},?)+\)",
    "type": "radio",
    "value": r"\d+",
    "width": r"\d+",
}
"""Attributes that the page writes, each with a pattern of what may be in it."""

_STYLE = re.compile(
    rf'(#{_CARD}:has\(input\[value="\d+"\]:checked\) \.imgcap-at-\d+,?)+'
    r"\{visibility:visible;opacity:1\}"
)
_ROWS = ("markup", "photos of others", "exceptions")


def run(size: int, seed: int, only: str = "") -> list[Row]:
    """Lets the sessions take turns.

    Args:
        size: turns of each session.
        seed: decides names, photos and order.
        only: must be empty; the rows are counted together.
    """
    del only
    rng, tally = random.Random(seed), Tally(*_ROWS)
    with (
        serving(answer, status=status) as target,
        Progress("turns", size * SESSIONS, "turns") as progress,
    ):
        os.environ["IMGCAP_SERVER"] = target
        visitors = [Visitor(number) for number in range(SESSIONS)]
        for turn in range(size * SESSIONS):
            place = rng.randrange(SESSIONS)
            take_turn(visitors[place], rng, tally, f"seed {seed}, turn {turn}")
            if rng.random() < VANISHING:
                visitors[place] = Visitor(SESSIONS + turn)
            progress.advance()
    return tally.rows()


class Visitor:
    """One session of the page, whose photos are known by their width.

    Attributes:
        page: the page as this visitor sees it.
        width: of all photos that are this visitor's.
        turns: how many were taken.
    """

    def __init__(self, number: int) -> None:
        self.page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
        self.width = 100 + number
        self.turns = 0


def take_turn(visitor: Visitor, rng: random.Random, tally: Tally, case: str) -> None:
    """Uploads some photos in one session, and counts what held on the page then."""
    photos = []
    for number in range(rng.randint(1, 3)):
        # Streamlit itself refuses an upload whose name has a null byte.
        name = f"{rng.choice(HOSTILE)}{rng.choice(HOSTILE)[:40]}.jpg".replace("\0", "")
        height = 100 + (3 * visitor.turns + number) % 90
        content = draw(visitor.width, height) if rng.random() < 0.9 else b"<svg onload=alert(1)>"
        photos.append((name, content, "image/jpeg"))
    if not visitor.turns:
        visitor.page.run()
    visitor.turns += 1
    visitor.page.file_uploader[0].set_value(photos)
    visitor.page.run()
    if visitor.page.text_area and rng.random() < 0.5:
        visitor.page.text_area[0].set_value(rng.choice(HOSTILE).replace("\0", ""))
        visitor.page.run()
    raised = "; ".join(str(error.value) for error in visitor.page.exception)
    tally.add("exceptions", raised, case)
    tally.add("markup", find_markup(visitor.page), case)
    widths = {int(width) for width in re.findall(r"(\d+) by \d+", everything(visitor.page))}
    strangers = widths - {visitor.width}
    missing = any(content[:1] != b"<" for _, content, _ in photos) and not widths
    problem = f"photos of the widths {sorted(strangers)}" if strangers else ""
    tally.add("photos of others", problem or ("no caption at all" if missing else ""), case)


def everything(page: AppTest) -> str:
    """All text of a page, tags taken out of its HTML."""
    texts = [Markup(element.value).text for element in page.html]
    texts += [element.value for element in (*page.text, *page.code)]
    texts += [str(field.value) for field in (*page.text_input, *page.text_area)]
    return "\n".join(texts)


def find_markup(page: AppTest) -> str:
    """Says which tags or attributes on a page are not its own; empty if there are none."""
    faults = []
    for element in page.html:
        if element.value.lstrip() != SHEET:
            faults += Markup(element.value).faults
    for element in page.markdown:
        faults += [f"in Markdown: {text[:30]}" for text in HOSTILE if text[:20] in element.value]
    return "; ".join(faults)


class Markup(HTMLParser):
    """The text of some HTML, and what in it the page never writes.

    Attributes:
        text: without tags.
        faults: tags and attributes that are not the page's own.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.faults: list[str] = []
        self._in_style = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Notes a tag that is not the page's own."""
        if tag not in _TAGS:
            self.faults.append(f"<{tag}>")
        self._in_style = tag == "style"
        for name, value in attributes:
            pattern = _ATTRIBUTES.get(name)
            if pattern is None or not re.fullmatch(pattern, value or "", re.DOTALL):
                self.faults.append(f"{name}=")

    def handle_comment(self, data: str) -> None:
        """Notes a comment; the page writes none."""
        self.faults.append(f"<!--{data[:20]}")

    def handle_data(self, data: str) -> None:
        """Collects text, and notes style rules that are not the card's own."""
        if not self._in_style:
            self.text += data
        elif not _STYLE.fullmatch(data):
            self.faults.append(f"<style>{data[:20]}")

    def handle_endtag(self, tag: str) -> None:
        """Notes where style rules end."""
        self._in_style = False


def draw(width: int, height: int) -> bytes:
    """Makes a JPEG file."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (width % 256, height % 256, 90)).save(buffer, "JPEG")
    return buffer.getvalue()


def answer(
    request: wire_pb2.PredictRequest, context: grpc.ServicerContext
) -> wire_pb2.PredictResponse:
    """What a model says whose captions are hostile and name the size of the photo."""
    if request.model_spec.signature_name == "describe":
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such signature")
    content = request.inputs["image_bytes"].string_val[0]
    picture = Image.open(io.BytesIO(content))
    text = f"{HOSTILE[picture.height % len(HOSTILE)]} {picture.width} by {picture.height}"
    caption = answer_for(text, "", (0.9, 0.0) if picture.height % 2 else None)
    if picture.height % 3 == 0:
        caption.outputs["attention"].CopyFrom(numbers([0.25] * 24, 1, 2, 3, 4))
    return caption


def status(
    request: wire_pb2.GetModelStatusRequest, context: grpc.ServicerContext
) -> wire_pb2.GetModelStatusResponse:
    """One version, which is ready."""
    del request, context
    return states_of({1: "AVAILABLE"})
