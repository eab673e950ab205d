"""The demo's first half, with a program that says what is known in place of imgcap-caption."""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from imgcap.cli.demo import samples
from imgcap.data.samples import find_samples
from imgcap.errors import ImgcapError

FOLDER = next(iter(find_samples().values())).parent


def put_in_place(monkeypatch: pytest.MonkeyPatch, folder: Path, status: int = 0) -> Path:
    """Has the demo call a program that answers every sample, and writes down its arguments.

    Returns:
        The file with the arguments.
    """
    answers = [
        {"image": str(path), "caption": f"a {path.stem}", "confidence": confidence}
        for path, confidence in zip(
            sorted(FOLDER.glob("*.jpg")), (0.75, 0.125, 0.0625, 0.5, 0.25, None), strict=True
        )
    ]
    called, program = folder / "called.json", folder / "imgcap-caption"
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, pathlib, sys\n"
        f"pathlib.Path({str(called)!r}).write_text(json.dumps(sys.argv[1:]))\n"
        f"print({json.dumps(answers)!r})\n"
        f"sys.exit({status})\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(samples, "find_program", lambda name: str(folder / name))
    monkeypatch.setattr(samples, "pretrained_names", lambda: ["pretrained:flickr8k"])
    return called


def test_samples_are_captioned_by_the_command_that_is_printed(monkeypatch, capsys, tmp_path):
    called = put_in_place(monkeypatch, tmp_path)
    samples.caption_samples(tmp_path)
    out = capsys.readouterr().out
    arguments = json.loads(called.read_text())
    assert arguments == [str(FOLDER), "--local", "--json"]
    assert f"$ imgcap-caption {' '.join(arguments)}\n" in out
    # Sorted by name: astronaut, cat, coffee, park, river, rocket.
    assert [line.split() for line in out.splitlines() if ".jpg" in line] == [
        ["park.jpg", "50%", "a", "park"],
        ["river.jpg", "25%", "a", "river"],
        ["astronaut.jpg", "75%", "a", "astronaut"],
        ["cat.jpg", "12%", "a", "cat"],
        ["coffee.jpg", "6%", "a", "coffee"],
        ["rocket.jpg", "a", "rocket"],
    ]
    with Image.open(tmp_path / "samples.png") as picture:
        tile, pixels = picture.width // 4, picture.convert("RGB")
    # What is written under each of the two rows of tiles: green if sure, else red.
    row = pixels.height // 2
    for place, sure in enumerate((True, False, True, False, False, False)):
        left, top = place % 4 * tile, place // 4 * row + tile - 4
        colours = pixels.crop((left, top, left + tile, top + row - tile)).getcolors(10**6)
        found = {colour for _, colour in colours}
        assert ((26, 127, 55) in found, (190, 40, 40) in found) == (sure, not sure)


def test_without_the_captioner_there_is_one_line(monkeypatch, capsys, tmp_path):
    called = put_in_place(monkeypatch, tmp_path)
    monkeypatch.setattr(samples, "pretrained_names", lambda: ["pretrained:other"])
    samples.caption_samples(tmp_path)
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and "no pretrained:flickr8k" in out
    assert not called.exists()


def test_a_command_that_fails_ends_the_demo(monkeypatch, tmp_path):
    put_in_place(monkeypatch, tmp_path, status=1)
    with pytest.raises(ImgcapError, match="imgcap-caption failed"):
        samples.caption_samples(tmp_path)
