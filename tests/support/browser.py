"""A headless Chromium, driven by selenium: the few calls that the page's tests need."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

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
SECONDS = 30.0


class Browser:
    """One window. Close it."""

    def __init__(self) -> None:
        options = ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for argument in ARGUMENTS:
            options.add_argument(argument)
        # With both programs named, selenium looks for none and loads none from the network.
        self._driver = Chrome(options, ChromeService(shutil.which("chromedriver")))

    def open(self, url: str) -> None:
        """Loads a page."""
        self._driver.get(url)

    def script(self, code: str, *arguments: Any) -> Any:
        """Runs JavaScript in the page and returns what it returns."""
        return self._driver.execute_script(code, *arguments)

    def text(self) -> str:
        """All that the page shows."""
        return self.script("return document.body.innerText")

    def type(self, css: str, text: str) -> None:
        """Types into an input, as soon as there is one; a file's path into one for files."""
        self._when_found(By.CSS_SELECTOR, css, lambda element: element.send_keys(text))

    def click(self, label: str) -> None:
        """Clicks the button with this label, as soon as there is one."""
        path = f"//button[normalize-space() = '{label}']"
        self._when_found(By.XPATH, path, lambda element: element.click())

    def resize(self, width: int, height: int) -> None:
        """Makes the window so large, in pixels."""
        self._driver.set_window_size(width, height)

    def screenshot(self, path: Path) -> None:
        """Writes what the window shows, as a PNG file."""
        self._driver.save_screenshot(str(path))

    def wait(self, condition: Callable[[], object], seconds: float = SECONDS) -> None:
        """Waits until a condition holds; fails after so many seconds."""
        waiting = WebDriverWait(self._driver, seconds, poll_frequency=0.05)
        waiting.until(lambda _: condition(), "waited in vain")

    def close(self) -> None:
        """Ends the browser."""
        self._driver.quit()

    def _when_found(self, by: str, what: str, act: Callable[[WebElement], None]) -> None:
        """Acts on the first such element, again if the page is drawn anew meanwhile."""
        stale = (StaleElementReferenceException,)
        waiting = WebDriverWait(self._driver, SECONDS, 0.05, ignored_exceptions=stale)

        def found_and_done(driver: Chrome) -> bool:
            for element in driver.find_elements(by, what)[:1]:
                act(element)
                return True
            return False

        waiting.until(found_and_done, f"{what} did not come")
