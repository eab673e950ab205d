"""The page, state by state, without a browser."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from imgcap.data.samples import find_samples
from serving.client import Caption, Hypothesis, SignatureNotFound
from serving.page.answers.card import draw_attention, draw_bars
from serving.page.answers.downloads import to_csv, to_row
from serving.page.messages import explain
from serving.page.options import MAX_UPLOAD_MB
from serving.page.settings import Settings, start_command
from serving.wire import wire_pb2
from tests.support.fake_server import answer_for, numbers, strings
from tests.support.paths import ROOT
from tests.support.servers import free_port

APP = ROOT / "app.py"
JPEG = "image/jpeg"


class FakeServer:
    """A model server that captions an image with its size, records its requests and fails at will.

    Attributes:
        asked: the requests that came.
        states: the state of each version.
        code: the status with which Predict fails, or None.
        error: the error of every image; empty for none.
        text: a caption in place of the size; empty for the size.
        details: whether it answers tokens and their log-probabilities.
        attention: weights to answer for the caption's words; empty for none.
        confidence: of the caption; None for none.
        card: what `describe` answers.
        described: how often it was asked for its card.
        target: host:port of the server.
    """

    def __init__(self) -> None:
        self.asked: list[wire_pb2.PredictRequest] = []
        self.states = {4: "AVAILABLE"}
        self.code: grpc.StatusCode | None = None
        self.error = ""
        self.text = ""
        self.details = True
        self.attention: list[float] = []
        self.confidence: float | None = None
        self.card: dict[str, Any] = {"data": {"pictures": "drawings"}}
        self.described = 0
        self._server = grpc.server(ThreadPoolExecutor(4))
        for service, method, call, request in (
            ("PredictionService", "Predict", self.predict, wire_pb2.PredictRequest),
            ("ModelService", "GetModelStatus", self.status, wire_pb2.GetModelStatusRequest),
        ):
            handler = grpc.unary_unary_rpc_method_handler(
                call, request.FromString, lambda response: response.SerializeToString()
            )
            generic = grpc.method_handlers_generic_handler(
                f"tensorflow.serving.{service}", {method: handler}
            )
            self._server.add_generic_rpc_handlers((generic,))
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def predict(self, request, context):
        if request.model_spec.signature_name == "describe":
            self.described += 1
            outputs = {"card": strings([json.dumps(self.card)], 1)}
            return wire_pb2.PredictResponse(outputs=outputs)
        self.asked.append(request)
        if self.code is not None:
            context.abort(self.code, "it says why")
        image = Image.open(io.BytesIO(request.inputs["image_bytes"].string_val[0]))
        confidence = None if self.confidence is None else (self.confidence, 0.0)
        answer = answer_for(self.text or f"{image.width} by {image.height}", self.error, confidence)
        if not self.details:
            del answer.outputs["tokens"], answer.outputs["token_log_probs"]
        if self.attention:
            answer.outputs["attention"].CopyFrom(numbers(self.attention, 1, 2, 3, 4))
        return answer

    def status(self, request, context):
        if request.model_spec.name != "imgcap":
            context.abort(grpc.StatusCode.NOT_FOUND, "Could not find any versions of model")
        states = wire_pb2.ModelVersionStatus.State
        return wire_pb2.GetModelStatusResponse(
            model_version_status=[
                wire_pb2.ModelVersionStatus(version=version, state=states.Value(state))
                for version, state in self.states.items()
            ]
        )

    def stop(self) -> None:
        self._server.stop(0).wait()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.stop()


@pytest.fixture
def page(server, monkeypatch) -> AppTest:
    monkeypatch.setenv("IMGCAP_SERVER", server.target)
    return AppTest.from_file(str(APP), default_timeout=20)


def photo(width: int = 64, height: int = 48, name: str = "photo.jpg") -> tuple[str, bytes, str]:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "navy").save(buffer, "JPEG")
    return name, buffer.getvalue(), JPEG


def upload(page: AppTest, *files: tuple[str, bytes, str]) -> AppTest:
    page.run()
    page.file_uploader(key="uploads").set_value(list(files))
    page.run()
    assert not page.exception
    return page


def shown(page: AppTest) -> str:
    """All that stands on the page, but the style sheet."""
    return "\n".join(element.value for element in page.html if "<style>" not in element.value)


def test_first_sight(page, server):
    page.run()
    assert not page.exception
    assert "imgcap version 4 is ready" in shown(page)
    labels = [button.label for button in page.button]
    assert len(set(labels)) == 4 and all(
        len(label.split()) == 2 for label in labels
    )  # "Red circle"
    assert not server.asked and not page.get("download_button")


def test_caption_with_all_that_belongs_to_it(page):
    upload(page, photo())
    text = shown(page)
    assert ">64<" in text and "score -0.50" in text and "model version 4" in text and " ms " in text
    assert "second" in text and "width: 78%" in text  # exp(-0.75 + 0.5)
    assert 'title="78% sure"' in text  # exp(-0.25)
    assert [code.value for code in page.code] == ['alt="64 by 48"']
    assert "photo.jpg" in text
    assert page.image[0].proto.imgs[0].alt == "64 by 48"


def test_where_the_model_looks(page, server):
    server.attention = [0.25] * 24
    upload(page, photo(200, 100))
    slider = page.select_slider[0]
    assert slider.options == ["1. 200", "2. by", "3. 100"]
    first = [image.proto.imgs[0].alt for image in page.image]
    assert first[1] == "The photograph, bright where the model looks for “200”"
    slider.set_value("2. by").run()
    assert (
        page.image[1].proto.imgs[0].alt == "The photograph, bright where the model looks for “by”"
    )
    assert len(server.asked) == 1 and not page.exception


def test_attention_lights_its_corner_up():
    buffer = io.BytesIO()
    Image.new("RGB", (80, 40), "white").save(buffer, "PNG")
    picture = Image.open(io.BytesIO(draw_attention(buffer.getvalue(), (0.0, 0.0, 0.7, 0.0))))
    corners = [
        picture.convert("L").getpixel(place) for place in ((2, 2), (77, 2), (2, 37), (77, 37))
    ]
    assert picture.size == (80, 40) and corners[2] > 240
    assert max(corners[:2] + corners[3:]) < 80


def test_a_model_without_details_of_words(page, server):
    upload(page, photo())
    assert "how sure it is of each word" not in shown(page)
    server.details = False
    upload(page, photo(200, 100), photo(100, 200))
    assert shown(page).count("This model does not say how sure it is of each word") == 1
    assert ">200 by 100<" in shown(page)
    page.radio(key="search").set_value("Greedy").run()
    assert "how sure it is of each word" not in shown(page)


def test_model_without_attention_has_no_slider(page):
    upload(page, photo())
    assert not page.select_slider


def test_many_are_captioned_in_order_and_a_bad_one_is_named(page, server):
    upload(
        page, photo(10, 20), ("broken.jpg", b"text", JPEG), ("empty.jpg", b"", JPEG), photo(30, 40)
    )
    assert [code.value for code in page.code] == ['alt="10 by 20"', 'alt="30 by 40"']
    assert "This file can’t be captioned: not an image" in shown(
        page
    ) and "This file is empty." in shown(page)
    assert len(server.asked) == 2 and not page.get("progress")


def test_a_model_without_greedy_search():
    missing = SignatureNotFound('Serving signature key "greedy" not found.')
    assert explain(missing).startswith(
        "This model does not have that kind of search: choose the other one"
    )


def test_image_is_sent_once_and_as_it_came(page, server):
    first = photo()
    upload(page, first, ("the same again.jpg", first[1], JPEG))
    assert len(server.asked) == 1
    page.run()
    upload(page, first, photo(10, 20))
    assert len(server.asked) == 2
    assert server.asked[0].inputs["image_bytes"].string_val[0] == first[1]
    page.radio(key="search").set_value("Greedy").run()
    assert [request.model_spec.signature_name for request in server.asked] == [
        "decode_details"
    ] * 2 + ["greedy"] * 2


def test_new_version_is_asked_again(page, server):
    upload(page, photo())
    server.states = {4: "END", 5: "AVAILABLE"}
    page.run()
    assert len(server.asked) == 2


def test_version_and_label_reach_the_server(page, server):
    upload(page, photo())
    page.text_input(key="version").set_value("4").run()
    page.text_input(key="version").set_value("canary").run()
    newest, fixed, label = (request.model_spec for request in server.asked)
    assert newest.WhichOneof("version_choice") is None
    assert fixed.version.value == 4 and label.version_label == "canary"


def test_sample(page, server):
    page.run()
    page.button[1].click().run()
    assert len(page.code) == len(server.asked) == 1
    sent = Image.open(io.BytesIO(server.asked[0].inputs["image_bytes"].string_val[0]))
    assert page.code[0].value == f'alt="{sent.width} by {sent.height}"'


def test_samples_are_of_the_kind_that_the_model_knows(page, server):
    server.card = {"data": {"pictures": None}}
    page.run()
    names = [path.name for path in sorted(find_samples().values())]
    assert sorted(f"{button.label.lower()}.jpg" for button in page.button) == names
    assert "Choose one of these photographs:" in shown(page)
    page.button(key="sample cat").click().run()
    (request,) = server.asked
    assert request.inputs["image_bytes"].string_val[0] == find_samples()["cat"].read_bytes()
    assert "cat.jpg" in shown(page)
    page.run()
    assert server.described == 1  # once a version
    server.card, server.states = {"data": {"pictures": "drawings"}}, {5: "AVAILABLE"}
    page.run()
    assert "Choose one of these drawings:" in shown(page) and len(page.button) == 4


@pytest.mark.parametrize("card", [{}, {"data": None}, {"data": {}}])
def test_a_card_that_does_not_say_means_photographs(page, server, card):
    server.card = card
    page.run()
    assert not page.exception and len(page.button) == 6


def test_photographs_are_offered_before_a_server_answers(page, server):
    server.stop()
    page.run()
    assert not page.exception and "Choose one of these photographs:" in shown(page)


@pytest.mark.parametrize(
    "confidence, words, ready",
    [
        (1.0, "sure <span>· 100%", True),
        (0.5, "sure <span>· 50%", True),
        (0.49, "fairly sure <span>· 49%", False),
        (0.25, "fairly sure <span>· 25%", False),
        (0.125, "unsure: check this one <span>· 12%", False),
    ],
)
def test_confidence_is_said_in_words(page, server, confidence, words, ready):
    server.confidence = confidence
    upload(page, photo())
    assert f'">{words} likely to be as good as a person’s' in shown(page)
    drafts = [field for field in page.text_input if field.label.startswith("Draft")]
    if ready:
        assert [code.value for code in page.code] == ['alt="64 by 48"'] and not drafts
        assert "Ready-made alt text" in shown(page)
    else:
        assert [field.value for field in drafts] == ["64 by 48"] and not page.code
        assert "Ready-made" not in shown(page)


def test_a_model_without_confidence_is_taken_as_before(page):
    upload(page, photo())
    text = shown(page)
    assert "likely to be" not in text and "Ready-made alt text" in text
    assert [code.value for code in page.code] == ['alt="64 by 48"']


def test_history_says_what_is_unsure(page, server):
    server.confidence = 0.125
    upload(page, photo(10, 20, "first.jpg"))
    upload(page, photo(30, 40, "second.jpg"))
    assert "unsure: check this one" in page.expander[0].html[0].value


def test_server_away(page, server):
    server.stop()
    upload(page, photo())
    assert f"No model server answers at {server.target}" in shown(page)
    port = server.target.split(":")[1]
    assert [code.value for code in page.code] == [f"imgcap-serve --port={port}"]
    assert page.button(key="again") and "not ready" in shown(page)


def test_what_is_no_address_is_explained(page, monkeypatch):
    monkeypatch.setenv("IMGCAP_SERVER", "http://localhost:8501")
    page.run()
    assert "is an address of the web, a model server speaks gRPC: give host:port" in shown(page)
    assert not page.code and not page.exception


def test_default_address_needs_no_port(page):
    settings = Settings("localhost:8500", "imgcap", "", "decode")
    assert start_command(settings) == "imgcap-serve"
    settings = Settings("localhost:8500", "mine", "", "decode")
    assert start_command(settings) == "imgcap-serve --model_base_path=MODELS/mine"


def test_server_that_comes_back(page, monkeypatch):
    monkeypatch.setenv("IMGCAP_SERVER", f"127.0.0.1:{free_port()}")
    page.run()
    assert "not ready" in shown(page)
    server = FakeServer()
    page.text_input(key="server").set_value(server.target).run()
    assert "imgcap version 4 is ready" in shown(page) and not page.code
    server.stop()


def test_model_still_loading(page, server):
    server.states = {4: "LOADING"}
    upload(page, photo())
    assert "still loading" in shown(page) and page.button(key="again") and not server.asked
    server.states = {4: "AVAILABLE"}
    page.button(key="again").click().run()
    assert [code.value for code in page.code] == ['alt="64 by 48"']


def test_model_the_server_does_not_have(page):
    page.run()
    page.text_input(key="model").set_value("other").run()
    assert "The server does not have that model" in shown(page)


@pytest.mark.parametrize(
    "code, sentence",
    [
        ("RESOURCE_EXHAUSTED", "The server is busy"),
        ("INTERNAL", "The server could not do it"),
        ("DEADLINE_EXCEEDED", "takes too long"),
        ("UNAVAILABLE", "has gone away"),
    ],
)
def test_trouble_is_said_and_tried_again_at_the_next_run(page, server, code, sentence):
    server.code = grpc.StatusCode[code]
    upload(page, photo())
    assert sentence in shown(page) and not page.code
    server.code = None
    page.run()
    assert [element.value for element in page.code] == ['alt="64 by 48"']


def test_image_the_model_refuses_is_not_sent_again(page, server):
    server.error = "more than 50 million pixels"
    upload(page, photo())
    page.run()
    assert "This file can’t be captioned: more than 50 million pixels." in shown(page)
    assert len(server.asked) == 1


def test_too_large_and_too_many(page, server):
    upload(page, ("huge.jpg", b"x" * (MAX_UPLOAD_MB * 2**20 + 600_000), JPEG))
    assert "too large: 21 MB, and the limit is 20 MB" in shown(page) and not server.asked
    upload(page, *(photo(width, 10) for width in range(10, 62)))
    assert "52 photographs are too many at once: the first 50 are taken." in shown(page)
    assert len(server.asked) == 50


def test_names_and_captions_are_text_never_markup(page, server):
    server.text = '<script>alert(1)</script> & "<b>two</b>" **dogs**'
    upload(page, photo(name="<img src=x onerror=alert(2)>.jpg"))
    server.error = "<i>no</i>"
    upload(page, photo(10, 10, "*bold*.jpg"))
    everything = shown(page)
    for markup in ("<script", "<b>", "<i>", "<img src=x"):
        assert markup not in everything
    assert "&lt;i&gt;no&lt;/i&gt;" in everything
    assert not [
        element for element in page.markdown if "bold" in element.value or "dogs" in element.value
    ]


def test_alt_text_can_be_pasted_into_a_page(page, server):
    server.text = 'a sign that says "stop" & <go>'
    upload(page, photo())
    assert page.code[0].value == 'alt="a sign that says &quot;stop&quot; &amp; &lt;go&gt;"'


def test_history_and_downloads(page):
    upload(page, photo(10, 20, "first.jpg"))
    upload(page, photo(30, 40, "second.jpg"))
    assert page.expander[0].label == "Earlier in this visit (1)"
    assert [text.value for text in page.expander[0].text] == ["10 by 20"]
    assert [button.label for button in page.get("download_button")] == [
        "Download CSV",
        "Download JSON",
    ]


def test_csv_holds_no_formula():
    caption = Caption("@sum", -1.0, version=2, seconds=0.5)
    rows = [to_row(name, caption) for name in ("=1+1.jpg", "a,b.jpg")]
    rows.append(to_row("c.jpg", Caption("a dog", -1.0, confidence=0.123456)))
    first, second, third = csv.DictReader(io.StringIO(to_csv(rows)))
    assert [row["confidence"] for row in (first, second, third)] == ["", "", "0.1235"]
    assert (first["image"], first["caption"], second["image"]) == ("'=1+1.jpg", "'@sum", "a,b.jpg")


def test_bars_are_shares_of_the_best():
    beams = (Hypothesis("a", -1.0), Hypothesis("b", -1.0), Hypothesis("c", -3.0))
    assert draw_bars(Caption("a", -1.0, alternatives=beams)).count("width: 100%") == 1
    assert "width: 14%" in draw_bars(Caption("a", -1.0, alternatives=beams))


LIGHT = """
import sys
from streamlit.testing.v1 import AppTest
page = AppTest.from_file("app.py").run(timeout=20)
assert not page.exception and "not ready" in "".join(element.value for element in page.html)
assert not {"tensorflow", "keras", "jax", "torch"} & set(sys.modules)
status = open("/proc/self/status") if sys.platform == "linux" else []
peak = [line for line in status if line.startswith("VmHWM")]
print(int(peak[0].split()[1]) / 1024 if peak else 0)
"""


def test_page_is_light(monkeypatch):
    monkeypatch.setenv("IMGCAP_SERVER", f"127.0.0.1:{free_port()}")
    done = subprocess.run(
        [sys.executable, "-c", LIGHT], capture_output=True, text=True, timeout=60, cwd=APP.parent
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) <= 250
