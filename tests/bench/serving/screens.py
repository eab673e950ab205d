"""Draws docs/images/page-*.png: the page in each of its states, with the captioner in the box.

python -m tests.bench.serving.screens [--output=docs/images] [NAME …]
"""

import argparse
import io
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
from PIL import Image, ImageOps
from selenium.webdriver.common.keys import Keys

from imgcap.data.samples import find_samples
from imgcap.signature import DECODE_DETAILS, IMAGE_BYTES
from serving.cli.box import export_once
from serving.wire import wire_pb2
from tests.support.browser import Browser
from tests.support.browser.page import Page, run_page
from tests.support.paths import ROOT
from tests.support.servers import free_port, server_process

IMAGES = ROOT / "docs" / "images"
MAX_BYTES = 150_000
FILES = "input[type=file]"
HALF = 6
SETTLE = 2.0
"""Seconds for fonts, pictures and what is still sliding into place."""


class Gate:
    """A server before the captioner that lets as many questions through as told, or fails them.

    Attributes:
        target: host:port.
        open: how many captions it lets through still; further ones wait.
        faults: the status for an image of so many bytes.
    """

    def __init__(self, captioner: str, port: int) -> None:
        self._channel = grpc.insecure_channel(captioner)
        self.open = threading.Semaphore(10**6)
        self.faults: dict[int, grpc.StatusCode] = {}
        self._server = grpc.server(ThreadPoolExecutor(16))
        self._server.add_generic_rpc_handlers((_Forwarding(self._answer),))
        self._server.add_insecure_port(f"127.0.0.1:{port}")
        self._server.start()

    def release(self) -> None:
        """Lets through all that waits, and fails nothing any more."""
        self.open.release(1000)
        self.faults.clear()

    def close(self) -> None:
        """Ends it."""
        self.release()
        self._server.stop(0).wait()
        self._channel.close()

    def _answer(self, method: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        if method.endswith("/Predict"):
            question = wire_pb2.PredictRequest.FromString(request)
            if question.model_spec.signature_name == DECODE_DETAILS:
                (image_bytes,) = question.inputs[IMAGE_BYTES].string_val
                if len(image_bytes) in self.faults:
                    context.abort(self.faults[len(image_bytes)], "as told")
                self.open.acquire()
        try:
            return self._channel.unary_unary(method)(request)
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())


class _Forwarding(grpc.GenericRpcHandler):
    """Every call of any service, as bytes."""

    def __init__(self, answer: Callable[[str, bytes, grpc.ServicerContext], bytes]) -> None:
        self._answer = answer

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        method = details.method
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: self._answer(method, request, context)
        )


class Studio:
    """A window, a page and the captioner in the box behind a gate.

    Attributes:
        browser: the window.
        page: the page.
        gate: between page and captioner.
        folder: for photos to upload.
    """

    def __init__(self, browser: Browser, page: Page, gate: Gate, folder: Path) -> None:
        self.browser = browser
        self.page = page
        self.gate = gate
        self.folder = folder

    def visit(self, *, dark: bool = False, phone: bool = False, height: int = 900) -> Browser:
        """Opens the page anew.

        Args:
            dark: light text on dark.
            phone: 390 pixels wide, in place of 1,100.
            height: of the window in CSS pixels.
        """
        self.browser.open("about:blank")
        if phone:
            self.browser.resize(390, 844, 1.5, phone=True)
        else:
            self.browser.resize(1100, height)
        self.browser.prefer(dark=dark, still=True)
        self.browser.open(self.page.url)
        self.browser.find_out("is ready")
        return self.browser

    def many(self) -> list[Path]:
        """Twelve photos: the samples, and parts of them in a mirror."""
        paths = []
        for name, path in find_samples().items():
            photo = Image.open(path)
            width, height = photo.size
            part = photo.crop((width // 6, 0, width, height - height // 8))
            for title, picture in ((name, photo), (f"{name} close", ImageOps.mirror(part))):
                paths.append(self.folder / f"{title}.jpg")
                picture.save(paths[-1], quality=90)
        return paths


@contextmanager
def open_studio() -> Iterator[Studio]:
    """A studio until the end of the block."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(server_process("embedded", model_base_path=str(export_once())))
        port = free_port()
        gate = Gate(server.target, port)
        stack.callback(gate.close)
        page = stack.enter_context(run_page(f"localhost:{port}"))
        browser = Browser()
        stack.callback(browser.close)
        yield Studio(browser, page, gate, folder)


def write_small(png: bytes, path: Path) -> None:
    """Writes a picture of the screen with as many colours as `MAX_BYTES` allow.

    Args:
        png: the picture.
        path: where to.

    Raises:
        ValueError: even 32 colours take too many bytes.
    """
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    choices = [(256, Image.Dither.FLOYDSTEINBERG)]
    choices += [(colours, Image.Dither.NONE) for colours in (256, 192, 128, 96, 64, 48, 32)]
    for colours, dither in choices:
        buffer = io.BytesIO()
        palette = picture.quantize(colours)
        picture.quantize(palette=palette, dither=dither).save(buffer, "PNG", optimize=True)
        if buffer.tell() <= MAX_BYTES:
            path.write_bytes(buffer.getvalue())
            return
    raise ValueError(f"{path.name} takes {buffer.tell()} bytes: make its window smaller")


def empty(studio: Studio) -> Browser:
    """What a visitor sees first."""
    browser = studio.visit(height=620)
    browser.see("Rocket")
    return browser


def sure(studio: Studio) -> Browser:
    """The part of the samples that the captioner is surest of, at 52 %."""
    photo = Image.open(find_samples()["park"]).convert("RGB")
    width, height = photo.size
    path = studio.folder / "photographer.jpg"
    photo.crop((0, int(0.35 * height), int(0.9 * width), height)).save(path, quality=90)
    browser = studio.visit()
    browser.type(FILES, str(path))
    browser.await_element(".imgcap-words", 120)
    return browser


def unsure(studio: Studio) -> Browser:
    """A photo unlike all that it has seen."""
    return _sample(studio.visit(), "River")


def gallery(studio: Studio) -> Browser:
    """Twelve photos, half of them answered."""
    browser = studio.visit(height=1250)
    studio.gate.open = threading.Semaphore(HALF)
    browser.type(FILES, "\n".join(map(str, studio.many())))
    browser.see(f"{HALF} of {2 * HALF} captioned", 120)
    return browser


def error(studio: Studio) -> Browser:
    """Photos that fail, each for a reason of its own, beside one that does not."""
    park, *others = studio.many()[:4]
    codes = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
    for path, code in zip(others, codes, strict=False):
        studio.gate.faults[path.stat().st_size] = code
    (studio.folder / "notes.jpg").write_text("not a photograph")
    (studio.folder / "empty.png").write_text("")
    browser = studio.visit(height=1000)
    names = [park, *others[:2], studio.folder / "notes.jpg", studio.folder / "empty.png"]
    browser.type(FILES, "\n".join(map(str, names)))
    browser.see("4 failed", 120)
    return browser


def away(studio: Studio) -> Browser:
    """No server where the page looks for one."""
    browser = studio.visit(height=820)
    browser.click_at("[data-testid=stExpandSidebarButton]")
    browser.type("input[aria-label='Model server']", f"{Keys.CONTROL}a{Keys.NULL}localhost:8599\n")
    browser.see("No model server answers", 60)
    browser.click_at("[data-testid=stSidebarCollapseButton] button")
    return browser


def dark(studio: Studio) -> Browser:
    """A photo by night."""
    return _sample(studio.visit(dark=True), "Rocket")


def phone(studio: Studio) -> Browser:
    """A phone just after a sample was chosen."""
    return _sample(studio.visit(phone=True), "Park")


SCREENS = (empty, sure, unsure, gallery, error, away, dark, phone)


def _sample(browser: Browser, name: str) -> Browser:
    browser.click(name)
    browser.await_element(".imgcap-words", 120)
    return browser


def main() -> None:
    """Draws the screens that were asked for, all without names."""
    parser = argparse.ArgumentParser(description="Draws the page in each of its states.")
    names = [screen.__name__ for screen in SCREENS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"Of {', '.join(names)}.")
    parser.add_argument("--output", type=Path, default=IMAGES, help="Folder for the pictures.")
    given = parser.parse_args()
    wrong = set(given.names) - set(names)
    if wrong:
        parser.error(
            f"no screen is called {', '.join(sorted(wrong))}: there are {', '.join(names)}"
        )
    with open_studio() as studio:
        for screen in SCREENS:
            if given.names and screen.__name__ not in given.names:
                continue
            browser = screen(studio)
            time.sleep(SETTLE)
            write_small(browser.screen(), given.output / f"page-{screen.__name__}.png")
            studio.gate.release()
            sys.stdout.write(f"page-{screen.__name__}.png\n")


if __name__ == "__main__":
    main()
