"""Visits of the page without a browser: a made-up model server, photos, and what is shown."""

import functools
import io
import json
import re
import threading
import zipfile
from typing import Any

import grpc
from PIL import Image
from streamlit.testing.v1 import AppTest

from serving.wire import wire_pb2
from tests.support.fake_server import answer_for, numbers, start_server, states_of, strings
from tests.support.paths import ROOT

APP = ROOT / "app.py"
JPEG = "image/jpeg"

Upload = tuple[str, bytes, str]
"""Name, content and media type of a file, as AppTest takes it."""


NO_SIGNATURE = 'Serving signature key "describe" not found.'


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
        confidences: of captions with these texts, in place of `confidence`.
        slowed: answers wait until it is set.
        missing: share of the image that its file lacks, as the model says.
        card: what `describe` answers.
        no_card: whether the model is an older export, which has none.
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
        self.no_card = False
        self.missing = 0.0
        self.described = 0
        self.confidences: dict[str, float] = {}
        self.slowed = threading.Event()
        self.slowed.set()
        self._server, self.target = start_server(self.predict, status=self.status)

    def predict(self, request, context):
        if request.model_spec.signature_name == "describe":
            self.described += 1
            if self.no_card:
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, NO_SIGNATURE)
            outputs = {"card": strings([json.dumps(self.card)], 1)}
            return wire_pb2.PredictResponse(outputs=outputs)
        self.asked.append(request)
        self.slowed.wait(20)
        if self.code is not None:
            context.abort(self.code, "it says why")
        image = Image.open(io.BytesIO(request.inputs["image_bytes"].string_val[0]))
        text = self.text or f"{image.width} by {image.height}"
        sure = self.confidences.get(text, self.confidence)
        answer = answer_for(text, self.error, None if sure is None else (sure, 0.0))
        if not self.details:
            del answer.outputs["tokens"], answer.outputs["token_log_probs"]
        if self.missing:
            answer.outputs["missing"].CopyFrom(numbers([self.missing], 1))
        if self.attention:
            answer.outputs["attention"].CopyFrom(numbers(self.attention, 1, 2, 3, 4))
        return answer

    def status(self, request, context):
        if request.model_spec.name != "imgcap":
            context.abort(grpc.StatusCode.NOT_FOUND, "Could not find any versions of model")
        return states_of(self.states)

    def stop(self) -> None:
        self._server.stop(0).wait()


def photo(width: int = 64, height: int = 48, name: str = "photo.jpg") -> Upload:
    """A photo of one colour; the made-up server captions it with its size."""
    return name, draw_jpeg(width, height), JPEG


@functools.cache
def draw_jpeg(width: int, height: int) -> bytes:
    """A JPEG file of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "navy").save(buffer, "JPEG")
    return buffer.getvalue()


def archive(entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive of these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return buffer.getvalue()


def upload(page: AppTest, *files: Upload) -> AppTest:
    """Opens the page, and gives it files at once."""
    page.run()
    page.file_uploader[0].set_value(list(files))
    page.run()
    assert not page.exception
    return page


def shown(page: AppTest) -> str:
    """All that stands on the page, but the style sheet."""
    return "\n".join(each.value for each in page.html if not each.value.startswith("<style>"))


def cells(page: AppTest, of: str = "imgcap-cell-text") -> list[str]:
    """One part of each cell of the galleries, from first to last."""
    return re.findall(rf'<p class="{of}"[^>]*>(?:<bdi>)?(.*?)(?:</bdi>)?</p>', shown(page))


def alt_field(page: AppTest) -> Any:
    """The field of the one alternative text on the page."""
    (field,) = page.text_area
    return field
