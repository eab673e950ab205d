"""The page in a process of its own, and photographs to give it."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from tests.support.paths import ROOT
from tests.support.servers import free_port
from tests.support.waiting import wait_for

APP = ROOT / "app.py"
_COMMENT = b"-" * 100


class Page(NamedTuple):
    """A page that runs.

    Attributes:
        url: its address.
        process: the number of its process.
    """

    url: str
    process: int


@contextmanager
def run_page(server: str, base_path: str = "") -> Iterator[Page]:
    """Runs the page until the end of the block.

    Args:
        server: host:port of the model server that it asks.
        base_path: the path it is reached under, as behind a reverse proxy.
    """
    port = free_port()
    flags = [
        f"--server.port={port}",
        "--server.headless=true",
        "--server.fileWatcherType=none",
        f"--server.baseUrlPath={base_path}",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", str(APP), *flags],
        cwd=ROOT,  # for .streamlit/config.toml
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"IMGCAP_SERVER": server},
    )
    url = f"http://localhost:{port}/{base_path}".rstrip("/")
    try:
        wait_for(lambda: _answers(url), 60)
        yield Page(url, process.pid)
    finally:
        process.terminate()
        process.wait()


def write_photo(path: Path, percent: int, size: tuple[int, int] = (320, 240)) -> Path:
    """Writes a JPEG of which the toy model is as sure as told.

    Args:
        path: where to.
        percent: the last two digits of the file's size.
        size: width and height in pixels.
    """
    picture = Image.effect_noise(size, 60).convert("RGB")
    picture.save(path, comment=_COMMENT)
    lacking = (percent - path.stat().st_size) % 100
    picture.save(path, comment=_COMMENT + b"-" * lacking)
    return path


def _answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(f"{url}/_stcore/health", timeout=5).status == 200
    except OSError:
        return False
