"""The page from top to bottom without a browser: servers, models, samples, and what comes when."""

import io
import subprocess
import sys

import grpc
import pytest
from PIL import Image

from imgcap.data.samples import find_samples
from serving.client import SignatureNotFound
from serving.page.messages import explain
from serving.page.settings import Settings, start_command
from tests.serving.page.visits import APP, FakeServer, cells, photo, shown, upload
from tests.support.servers import free_port


def test_first_sight(page, server):
    page.run()
    assert not page.exception
    assert "imgcap version 4 is ready" in shown(page)
    labels = [button.label for button in page.button]
    assert len(set(labels)) == 4 and all(
        len(label.split()) == 2 for label in labels
    )  # "Red circle"
    assert not server.asked and not page.get("download_button") and not page.expander


def test_the_answer_comes_before_the_samples(page):
    upload(page, photo())
    text = shown(page)
    assert text.index("imgcap-card") < text.index("Captions and alt texts of this visit")
    assert page.expander[0].label == "Or choose one of these drawings"
    assert len(page.expander[0].button) == 4 and len(page.file_uploader) == 1


def test_a_model_without_details_of_words(page, server):
    upload(page, photo())
    assert "how sure it is of each word" not in shown(page)
    server.details = False
    upload(page, photo(200, 100), photo(100, 200))
    assert shown(page).count("This model does not say how sure it is of each word") == 1
    assert cells(page)[:2] == ["200 by 100", "100 by 200"]
    page.radio(key="search").set_value("Greedy").run()
    assert "how sure it is of each word" not in shown(page)


def test_a_model_without_greedy_search():
    missing = SignatureNotFound('Serving signature key "greedy" not found.')
    assert explain(missing).startswith(
        "This model does not have that kind of search: choose the other one"
    )


def test_image_is_sent_once_and_as_it_came(page, server):
    first = photo()
    upload(page, first, ("the same again.jpg", first[1], first[2]))
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
    (samples,) = (box for box in page.expander if box.label == "Or choose one of these drawings")
    assert len(samples.button) == 4


@pytest.mark.parametrize("card", [{}, {"data": None}, {"data": {}}, {"data": {"pictures": "x"}}])
def test_a_card_that_does_not_say_means_photographs(page, server, card):
    server.card = card
    page.run()
    assert not page.exception and len(page.button) == 6


def test_an_export_without_a_card_gets_photographs(page, server):
    server.no_card = True
    page.run()
    assert not page.exception and len(page.button) == 6
    page.run()
    assert server.described == 1


def test_photographs_are_offered_before_a_server_answers(page, server):
    server.stop()
    page.run()
    assert not page.exception and "Choose one of these photographs:" in shown(page)


def test_server_away(page, server):
    server.stop()
    upload(page, photo())
    assert f"No model server answers at {server.target}" in shown(page)
    port = server.target.split(":")[1]
    assert [code.value for code in page.code] == [f"imgcap-serve --port={port}"]
    assert page.code[0].proto.wrap_lines
    assert page.button(key="again") and "not ready" in shown(page)
    assert "This photograph waits for a model server." in shown(page)


def test_answers_stay_when_the_server_goes(page, server):
    upload(page, photo())
    server.stop()
    page.run()
    assert "No model server answers" in shown(page)
    assert page.code[1].value == 'alt="64 by 48"' and len(server.asked) == 1


def test_what_waited_is_captioned_once_a_server_is_there(page, server, monkeypatch):
    monkeypatch.setenv("IMGCAP_SERVER", f"127.0.0.1:{free_port()}")
    upload(page, photo(), photo(10, 20))
    assert "2 photographs wait for a model server" in shown(page) and not server.asked
    page.text_input(key="server").set_value(server.target).run()
    assert cells(page) == ["64 by 48", "10 by 20"] and len(server.asked) == 2


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


TROUBLE = {
    "RESOURCE_EXHAUSTED": "The server is busy",
    "INTERNAL": "The server could not do it",
    "DEADLINE_EXCEEDED": "takes too long",
    "UNAVAILABLE": "has gone away",
}


@pytest.mark.parametrize("code", TROUBLE)
def test_trouble_is_said_and_the_photo_can_be_asked_again(page, server, code):
    given = photo()
    server.code = grpc.StatusCode[code]
    upload(page, given)
    asked = len(server.asked)
    page.run()
    assert TROUBLE[code] in shown(page) and not page.code and len(server.asked) == asked
    server.code = None
    page.button(key="ask again").click().run()
    assert [element.value for element in page.code] == ['alt="64 by 48"']
    assert server.asked[-1].inputs["image_bytes"].string_val[0] == given[1]
    assert "ask again" not in [button.key for button in page.button]


def test_image_the_model_refuses_is_not_sent_again(page, server):
    server.error = "more than 50 million pixels"
    upload(page, photo())
    page.run()
    assert "This file can’t be captioned: more than 50 million pixels." in shown(page)
    assert len(server.asked) == 1 and "ask again" not in [button.key for button in page.button]


def test_names_and_captions_are_text_never_markup(page, server):
    server.text = '<script>alert(1)</script> & "<b>two</b>" **dogs**'
    upload(page, photo(name="<img src=x onerror=alert(2)>.jpg"))
    server.error = "<i>no</i>"
    upload(page, photo(10, 10, "*bold*.jpg"))
    upload(page, photo(10, 11, "<u>x</u>.jpg"), photo(10, 12, "*bold*.zip/<u>.jpg"))
    everything = shown(page)
    for markup in ("<script", "<b>", "<i>", "<img src=x", "<u>"):
        assert markup not in everything
    assert "&lt;i&gt;no&lt;/i&gt;" in everything
    assert not [
        element for element in page.markdown if "bold" in element.value or "dogs" in element.value
    ]
    assert not [button for button in page.button if "bold" in button.label]


def test_answers_are_said_to_those_who_listen(page):
    assert len(page.run().get("bidi_component")) == 1
    upload(page, photo(name="<park>.jpg"))
    said = "Caption of &lt;park&gt;.jpg: 64 by 48"
    assert f'<p class="imgcap-say imgcap-hidden" aria-hidden="true">{said}</p>' in shown(page)
    assert 'class="imgcap-answer" data-arrival="1"' in shown(page)
    page.run()
    assert 'data-arrival="1"' in shown(page)
    upload(page, photo(10, 20), photo(20, 10))
    assert 'data-arrival="2"' in shown(page)
    assert '<p class="imgcap-say imgcap-progress">2 photographs: 2 sure' in shown(page)


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
