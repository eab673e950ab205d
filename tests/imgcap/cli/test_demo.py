"""The demo's first half, with a program that says what is known in place of imgcap-caption."""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from imgcap.cli.demo import samples
from imgcap.cli.demo.report import choose_shown, draw_captions, draw_mark, report
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


def test_what_is_shown_varies_and_has_the_wrong_ones_in_their_share():
    kinds = ["red ring"] * 6 + ["red square", "blue ring"] * 2
    assert choose_shown([True] * 10, kinds, 4) == [0, 1, 6, 7]
    assert choose_shown([True] * 10, kinds, 6) == [0, 1, 6, 7, 8, 9]
    # One of ten is wrong: one is shown. Five of ten are: half of those that are shown.
    right = [True] * 5 + [False] + [True] * 4
    assert choose_shown(right, kinds, 4) == [0, 5, 6, 7]
    right = [False] * 5 + [True] * 5
    assert sum(right[place] for place in choose_shown(right, kinds, 4)) == 2
    assert choose_shown([True, False], ["a", "b"], 12) == [0, 1]
    assert choose_shown([], [], 12) == []


def test_marks_differ_by_more_than_colour():
    marks = []
    for mark in ("right", "wrong", "unsure"):
        picture = Image.new("RGB", (14, 14), "white")
        draw_mark(ImageDraw.Draw(picture), (0, 0), mark, (1, 2, 3))
        marks.append(picture.convert("L").point(lambda level: level < 128).tobytes())
    assert len(set(marks)) == 3
    assert all(20 < sum(map(bool, mark)) < 80 for mark in marks)


@pytest.mark.parametrize(
    ("words", "lines"), [(3, 1), (8, 2), (14, 3), (100, 3)], ids=["1", "2", "3", "cut"]
)
def test_a_picture_has_room_for_its_captions_and_no_more(tmp_path, words, lines):
    scene = tmp_path / "scene.png"
    Image.new("RGB", (30, 20), (10, 20, 30)).save(scene)
    caption = " ".join(["word"] * words)
    draw_captions(tmp_path / "out.png", [{"image": scene, "caption": caption}] * 5, [True] * 5)
    with Image.open(tmp_path / "out.png") as picture:
        strip = picture.height // 2 - 240
        assert picture.size == (960, 2 * (240 + strip))
        # The small scene is as wide as its tile.
        assert [picture.getpixel((x, 120)) for x in (8, 231)] == [(10, 20, 30)] * 2
        written = picture.crop((30, 240, 232, 240 + strip)).convert("L")
        darkest = [min(written.crop((0, y, 202, y + 1)).tobytes()) for y in range(strip)]
    assert strip == 19 * lines + 8
    inked = [y for y in range(strip) if darkest[y] < 128]
    assert inked[-1] >= 19 * (lines - 1) and strip - inked[-1] < 20


@pytest.mark.parametrize(("wrong", "succeeds"), [(1, True), (2, False)])
def test_the_end_counts_and_draws_what_the_server_answered(tmp_path, capsys, wrong, succeeds):
    (tmp_path / "run").mkdir()
    rows, answers = [], []
    for place, colour in enumerate(("red", "green", "blue", "yellow", "purple")):
        path = tmp_path / f"{colour}.png"
        Image.new("RGB", (30, 20), colour).save(path)
        said = "A green ring ." if place >= 5 - wrong else f"A {colour} ring ."
        rows.append({"image": path.name, "references": [f"A {colour} ring ."]})
        answers.append({"image": str(path), "caption": said, "score": -1.5})
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    (tmp_path / "run" / "captions_test.jsonl").write_text(lines)
    (tmp_path / "run" / "scores_test.json").write_text('{"cider": 12.3, "bleu_4": 4.5}')
    assert report(tmp_path, answers) is succeeds
    out = capsys.readouterr().out
    assert f"{5 - wrong} of 5 held-out images ({100 - 20 * wrong}%; wanted: 80 %)" in out
    assert "purple.png  A green ring .  (-1.50)   a person: A purple ring ." in out
    with Image.open(tmp_path / "captions.png") as picture:
        assert picture.size == (960, 2 * (240 + 19 + 8))
