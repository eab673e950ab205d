"""One page, one browser and one toy model for all tests in this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import MISSING, Browser
from tests.support.browser.page import Page, run_page, write_photo
from tests.support.servers import free_port
from tests.support.toy_model import serve, write_toy_model


@pytest.fixture(scope="package")
def base_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder with the toy as version 1."""
    base_path = tmp_path_factory.mktemp("models") / "imgcap"
    write_toy_model(base_path / "1", details=True)
    return base_path


@pytest.fixture(scope="package")
def port() -> int:
    """Where the page looks for a model server."""
    return free_port()


@pytest.fixture(scope="module")
def server(base_path: Path, port: int) -> Iterator[None]:
    """A model server where the page looks for one."""
    with serve(base_path, port=port):
        yield


@pytest.fixture(scope="package")
def page(port: int) -> Iterator[Page]:
    """The page."""
    if MISSING:
        pytest.skip(f"{' and '.join(MISSING)} not installed")
    with run_page(f"localhost:{port}") as page:
        yield page


@pytest.fixture(scope="package")
def window(page: Page) -> Iterator[Browser]:
    """The browser's one window."""
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
def browser(window: Browser, page: Page) -> Browser:
    """The window as it is at a desk by day, with empty logs; it remembers nothing of the page."""
    window.open("about:blank")
    window.command("Storage.clearDataForOrigin", origin=page.url, storageTypes="all")
    window.resize(1280, 900)
    window.prefer()
    window.log("browser")
    window.log("performance")
    return window


@pytest.fixture
def visit(browser: Browser, server: None, page: Page) -> Browser:
    """The window with the page open, ready for a photo."""
    browser.open(page.url)
    browser.find_out("version 1 is ready")
    return browser


@pytest.fixture(scope="package")
def sure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo that the toy is 93 % sure of."""
    return write_photo(tmp_path_factory.mktemp("photos") / "sure.jpg", 93)


@pytest.fixture(scope="package")
def unsure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo that the toy is 12 % sure of."""
    return write_photo(tmp_path_factory.mktemp("photos") / "unsure.jpg", 12)
