"""imgcap-caption with images whose names stumble: each output reads, and leads back to the file."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgcap.files.names import read_name
from serving.cli import caption
from tests.support.fake_server import length_of, serving
from tests.support.paths import ALL_AT_ONCE, HOSTILE_NAMES, ROOT

NAMES = sorted({name[:251] + ".jpg" for name in [*HOSTILE_NAMES, ALL_AT_ONCE]} | {"=1+1.jpg"})


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving(length_of) as target:
        yield f"--server={target}"


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of photos in the current directory; each is as many bytes as its place says."""
    monkeypatch.chdir(tmp_path)
    for place, name in enumerate(NAMES, start=1):
        Path(name).write_bytes(b"x" * place)
    return NAMES


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert caption.main(["imgcap-caption", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    captured.out.encode("utf-8")
    return captured.out


def opened(rows: list[tuple[str, str]]) -> list[tuple[int, int]]:
    """The size of each file that an output names, and what its caption says of the size."""
    return [(os.path.getsize(read_name(name)), int(text)) for name, text in rows]


EXPECTED = [(place, place) for place in range(1, len(NAMES) + 1)]


def test_lines_lead_back(
    capsys: pytest.CaptureFixture[str], server: str, photos: list[str]
) -> None:
    lines = run(capsys, server, "--", *photos).splitlines()
    assert opened([tuple(line.split("\t")) for line in lines]) == EXPECTED
    # What was printed can be given again.
    again = run(capsys, server, "--", *[line.split("\t")[0] for line in lines]).splitlines()
    assert again == lines


def test_alternative_texts_lead_back(
    capsys: pytest.CaptureFixture[str], server: str, photos: list[str]
) -> None:
    lines = run(capsys, server, "--alt_text", "--", *photos).splitlines()
    rows = [tuple(line.split("\t")) for line in lines]
    assert opened([(name, text.rstrip(".")) for name, text in rows]) == EXPECTED


def test_csv_leads_back_and_runs_no_name_as_a_formula(
    capsys: pytest.CaptureFixture[str], server: str, photos: list[str]
) -> None:
    rows = list(csv.DictReader(io.StringIO(run(capsys, server, "--csv", "--", *photos))))
    assert opened([(row["image"], row["caption"]) for row in rows]) == EXPECTED
    assert not [row["image"] for row in rows if row["image"].startswith(("=", "-", "'="))]


def test_json_leads_back(
    capsys: pytest.CaptureFixture[str], server: str, photos: list[str]
) -> None:
    objects = json.loads(run(capsys, server, "--json", "--", *photos))
    assert opened([(one["image"], one["caption"]) for one in objects]) == EXPECTED


@pytest.mark.parametrize("output", [*HOSTILE_NAMES, ALL_AT_ONCE])
def test_jsonl_goes_to_a_file_of_any_name_and_leads_back(
    output: str, capsys: pytest.CaptureFixture[str], server: str, photos: list[str]
) -> None:
    Path("results").mkdir()
    assert run(capsys, server, f"--jsonl_output=results/{output}", "--", *photos) == ""
    text = Path("results", output).read_bytes().decode("utf-8")
    objects = list(map(json.loads, text.splitlines()))
    assert opened([(one["image"], one["caption"]) for one in objects]) == EXPECTED


def test_a_terminal_without_utf_8_and_a_file_that_is_missing(
    server: str, photos: list[str]
) -> None:
    script = "import sys; from serving.cli.caption import main; sys.exit(main())"
    latin_1, missing = os.fsdecode(b"caf\xe9.jpg"), os.fsdecode(b"\xe9\n.jpg")
    done = subprocess.run(
        [sys.executable, "-c", script, latin_1, missing, "été.jpg", server],
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=60,
    )
    size = {name: place for place, name in enumerate(NAMES, start=1)}
    assert done.returncode == 1
    assert done.stdout == (
        b"caf\\xe9.jpg\t%d\n\\xe9t\\xe9.jpg\t%d\n" % (size[latin_1], size["été.jpg"])
    )
    assert done.stderr == (
        b"imgcap-caption: \\xe9\\x0a.jpg: can't be read: No such file or directory\n"
    )
