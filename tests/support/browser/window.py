"""One window of a headless Chromium, driven by selenium: looks, keys, files and the network."""

import base64
import io
import shutil
from collections.abc import Callable
from typing import Any

from PIL import Image
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    StaleElementReferenceException,
)
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--window-size=1280,900",
)
MISSING = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
SECONDS = 60.0

WATCH = """
window.imgcapMoves = [];
new PerformanceObserver(list => {
  for (const entry of list.getEntries())
    if (!entry.hadRecentInput)
      window.imgcapMoves.push({at: entry.startTime, value: entry.value, sources:
        entry.sources.map(source =>
          (source.node?.outerHTML ?? source.node?.textContent ?? '').slice(0, 150))});
}).observe({type: 'layout-shift', buffered: true});
"""
"""Runs in each new document: writes its layout shifts down, as `measures.moves` reads them."""


class Browser:
    """One window. Close it."""

    def __init__(self) -> None:
        options = ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for argument in ARGUMENTS:
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        # With both programs named, selenium looks for none and loads none from the network.
        self._driver = Chrome(options, ChromeService(shutil.which("chromedriver")))
        self.command("Page.addScriptToEvaluateOnNewDocument", source=WATCH)

    def open(self, url: str) -> None:
        """Loads a page."""
        self._driver.get(url)

    def script(self, code: str, *arguments: Any) -> Any:
        """Runs JavaScript in the page and returns what it returns; a promise is waited for."""
        return self._driver.execute_script(code, *arguments)

    def command(self, name: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command of the DevTools protocol and returns its answer."""
        return self._driver.execute_cdp_cmd(name, parameters)

    def log(self, kind: str) -> list[dict[str, Any]]:
        """The entries of a log ("browser" or "performance") since it was last read."""
        return self._driver.get_log(kind)

    def text(self) -> str:
        """All that the page shows."""
        return self.script("return document.body.innerText")

    def source(self) -> str:
        """The page's HTML as it is now, with what is folded in or out of sight."""
        return self.script("return document.body.outerHTML")

    def see(self, text: str, seconds: float = SECONDS) -> None:
        """Waits until the page shows a text."""
        self.wait(lambda: text in self.text(), seconds)

    def find_out(self, text: str, seconds: float = SECONDS) -> None:
        """Waits until the page's HTML has a text, seen or folded in."""
        self.wait(lambda: text in self.source(), seconds)

    def type(self, css: str, text: str) -> None:
        """Types into an input, as soon as there is one; a file's path into one for files."""
        self._when_found(By.CSS_SELECTOR, css, lambda element: element.send_keys(text))

    def click(self, label: str) -> None:
        """Clicks the button with this label, as soon as there is one."""
        path = f"//button[normalize-space() = '{label}']"
        self._when_found(By.XPATH, path, lambda element: element.click())

    def click_at(self, css: str) -> None:
        """Clicks the first such element, as soon as there is one."""
        self._when_found(By.CSS_SELECTOR, css, lambda element: element.click())

    def await_element(self, css: str, seconds: float = SECONDS) -> None:
        """Waits until there is such an element."""
        self.wait(lambda: self.find(css), seconds)

    def find(self, css: str) -> list[WebElement]:
        """All such elements, as the page has them now."""
        return self._driver.find_elements(By.CSS_SELECTOR, css)

    def press(self, *keys: str) -> None:
        """Presses keys one after the other, wherever the focus is."""
        for key in keys:
            ActionChains(self._driver, duration=0).send_keys(key).perform()

    def tab_to(self, name: str, role: str = "button", stops: int = 40) -> WebElement:
        """Presses Tab until something of this name and role has the focus.

        Args:
            name: as a screen reader says it.
            role: as ARIA calls it.
            stops: how many presses it may take.
        """
        passed = []
        for _ in range(stops):
            self.press(Keys.TAB)
            element = self.focused()
            passed.append((element.aria_role, element.accessible_name))
            if passed[-1] == (role, name):
                return element
        raise AssertionError(f"no {role} {name!r} among {passed}")

    def focused(self) -> WebElement:
        """The element that has the focus."""
        return self._driver.switch_to.active_element

    def focused_within(self, css: str) -> bool:
        """Whether the focus is in such an element."""
        return self.script("return !!document.activeElement.closest(arguments[0])", css)

    def resize(self, width: int, height: int, scale: float = 1, *, phone: bool = False) -> None:
        """Makes the window so large.

        Args:
            width: CSS pixels; below 500, too, which a window of Chromium does not get to.
            height: CSS pixels.
            scale: pixels of the screen for each of CSS. A width of 427 at scale 3 is what a window
                of 1280 pixels has at a zoom of 300 %.
            phone: whether it is a phone, with fingers in place of a mouse.
        """
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=phone,
        )
        self.command("Emulation.setTouchEmulationEnabled", enabled=phone)

    def prefer(self, *, dark: bool = False, still: bool = False) -> None:
        """Says what the visitor prefers.

        Args:
            dark: light text on dark.
            still: as little motion as possible.
        """
        wishes = {
            "prefers-color-scheme": "dark" if dark else "light",
            "prefers-reduced-motion": "reduce" if still else "no-preference",
        }
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        self.command("Emulation.setEmulatedMedia", features=features)

    def picture(self, left: float, top: float, width: float, height: float) -> Image.Image:
        """What a part of the window shows, in CSS pixels from its upper left corner."""
        clip = {"x": left, "y": top, "width": width, "height": height, "scale": 1}
        answer = self.command("Page.captureScreenshot", clip=clip)
        return Image.open(io.BytesIO(base64.b64decode(answer["data"]))).convert("RGB")

    def screen(self) -> bytes:
        """What the window shows, as a PNG file."""
        return self._driver.get_screenshot_as_png()

    def wait(self, condition: Callable[[], object], seconds: float = SECONDS) -> None:
        """Waits until a condition holds; fails after so many seconds."""
        stale = (StaleElementReferenceException,)
        waiting = WebDriverWait(self._driver, seconds, 0.05, ignored_exceptions=stale)
        waiting.until(lambda _: condition(), "waited in vain")

    def close(self) -> None:
        """Ends the browser."""
        self._driver.quit()

    def _when_found(self, by: str, what: str, act: Callable[[WebElement], None]) -> None:
        """Acts on the first such element, again if the page is drawn anew meanwhile."""
        passing = (
            StaleElementReferenceException,
            ElementNotInteractableException,
            ElementClickInterceptedException,
        )
        waiting = WebDriverWait(self._driver, SECONDS, 0.05, ignored_exceptions=passing)

        def found_and_done(driver: Chrome) -> bool:
            for element in driver.find_elements(by, what)[:1]:
                act(element)
                return True
            return False

        waiting.until(found_and_done, f"{what} did not come")
