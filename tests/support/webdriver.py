"""A headless Chromium by the WebDriver protocol: the few calls that the page's tests need."""

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.servers import free_port

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # what the protocol calls an element's number
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--window-size=1100,1000",
)
MISSING = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]


class Browser:
    """One window. Close it."""

    def __init__(self) -> None:
        port = free_port()
        self._driver = subprocess.Popen(
            ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL
        )
        self._url = f"http://127.0.0.1:{port}"
        self.wait(lambda: self._answers())
        options = {"goog:chromeOptions": {"args": ARGUMENTS, "binary": shutil.which("chromium")}}
        session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": options}})
        self._url += f"/session/{session['sessionId']}"

    def open(self, url: str) -> None:
        self._call("POST", "/url", {"url": url})

    def script(self, code: str, *arguments: Any) -> Any:
        return self._call("POST", "/execute/sync", {"script": code, "args": arguments})

    def text(self) -> str:
        return self.script("return document.body.innerText")

    def type(self, css: str, text: str) -> None:
        """Types into an input, as soon as there is one; a file's path into one for files."""
        found = self._find("document.querySelector(arguments[0])", css)
        self._call("POST", f"/element/{found}/value", {"text": text})

    def click(self, label: str) -> None:
        """Clicks the button that says so, as soon as there is one."""
        buttons = "[...document.querySelectorAll('button')]"
        code = f"{buttons}.find(button => button.innerText.trim() === arguments[0])"
        self._call("POST", f"/element/{self._find(code, label)}/click")

    def resize(self, width: int, height: int) -> None:
        self._call("POST", "/window/rect", {"width": width, "height": height})

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._call("GET", "/screenshot")))

    def wait(self, condition, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.05)

    def close(self) -> None:
        try:
            self._call("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.wait()

    def _find(self, code: str, argument: str) -> str:
        code = f"return {code}"
        self.wait(lambda: self.script(code, argument))
        return self.script(code, argument)[ELEMENT]

    def _answers(self) -> bool:
        try:
            return bool(self._call("GET", "/status")["ready"])
        except OSError:
            return False

    def _call(self, method: str, path: str, body: dict | None = None) -> Any:
        data = json.dumps(body or {}).encode() if method == "POST" else None
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)["value"]
