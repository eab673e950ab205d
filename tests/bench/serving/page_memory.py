"""Measures the page's memory while a visitor has many large photos captioned, in a real browser.

python -m tests.bench.serving.page_memory [--photos=50] [--megabytes=20]
"""

import argparse
import re
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import grpc
import numpy as np
from PIL import Image

from serving.wire import wire_pb2
from tests.bench.table import Row, format_table
from tests.support.browser import Browser
from tests.support.browser.page import run_page
from tests.support.fake_server import answer_for, serving, states_of

KEPT_MB = "≤ 100"
"""What 50 results may add: thumbnails, answers, and what the C library keeps for itself."""

_MB = 2**20


def measure_memory(photos: int, megabytes: int) -> list[Row]:
    """Uploads photos at once, and compares the page's process before and after.

    Args:
        photos: how many.
        megabytes: size of each.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        status = states_of({1: "AVAILABLE"})
        target = stack.enter_context(serving(answer, status=lambda request, context: status))
        page = stack.enter_context(run_page(target))
        files = write_photos(folder, photos, megabytes)
        browser = Browser()
        stack.callback(browser.close)
        browser.open(page.url)
        browser.find_out("is ready")
        browser.type("input[type=file]", str(write_photos(folder, 1, 1)[0]))
        browser.find_out("score")
        before = read_status(page.process, "VmRSS")
        browser.type("input[type=file]", "\n".join(map(str, files)))
        browser.see(f"{photos} photographs:", 600)
        time.sleep(12)  # memory is given back every few seconds
        after = read_status(page.process, "VmRSS")
        peak = read_status(page.process, "VmHWM")
        held = held_uploads(page.url)
    note = f"{photos} photos of {megabytes} MB, MB"
    return [
        Row("page's memory after one photo", before, "", "MB"),
        Row("most while they are captioned", peak, "", note),
        Row("page's memory afterwards, more than before", after - before, KEPT_MB, note),
        Row("uploads that Streamlit still holds", held, "≤ 0", note),
    ]


def write_photos(folder: Path, number: int, megabytes: int) -> list[Path]:
    """Writes JPEG files of 12 million pixels that differ, filled up behind their end."""
    noise = np.random.default_rng(0).integers(0, 255, (750, 1000, 3), np.uint8)
    picture = Image.fromarray(noise).resize((4000, 3000))
    picture.save(folder / "photo.jpg", quality=95)
    content = (folder / "photo.jpg").read_bytes()
    size = max(len(content) + 1, megabytes * _MB)
    paths = [folder / f"photo-{megabytes}-{index}.jpg" for index in range(number)]
    for index, path in enumerate(paths):
        # Before the end marker, which the file keeps: else it would count as cut off.
        filling = bytes([index]) * (size - len(content))
        path.write_bytes(content[:-2] + filling + content[-2:])
    return paths


def answer(
    request: wire_pb2.PredictRequest, context: grpc.ServicerContext
) -> wire_pb2.PredictResponse:
    """What a model server says that keeps nothing."""
    if request.model_spec.signature_name == "describe":
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no such signature")
    return answer_for("a photo", "", (0.9, 0.0))


def read_status(process: int, name: str) -> float:
    """A number that Linux keeps of a process' memory, in MB."""
    text = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    found = re.search(rf"{name}:\s+(\d+) kB", text)
    assert found, name
    return int(found[1]) / 1024


def held_uploads(url: str) -> float:
    """MB of files in Streamlit's store of uploads, by its own metrics."""
    with urllib.request.urlopen(f"{url}/_stcore/metrics", timeout=10) as answer:
        text = answer.read().decode()
    sizes = re.findall(r'UploadedFileManager"[^}]*\} (\d+)', text)
    return sum(map(int, sizes)) / _MB


def main(argv: list[str]) -> int:
    """Prints the table; 1 if something was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=50)
    parser.add_argument("--megabytes", type=int, default=20)
    arguments = parser.parse_args(argv)
    rows = measure_memory(arguments.photos, arguments.megabytes)
    print(format_table(rows))
    return int(any(row.reached() is False for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
