"""imgcap-caption --local: the captions and the errors that a server gives, without one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from imgcap.data.image import decode
from imgcap.run.restore import load_captioner
from serving.cli import caption
from serving.cli.local import LocalCaptioner
from serving.client import BadImage


def run(*words: str) -> int:
    return caption.main(["imgcap-caption", *words])


@pytest.fixture(scope="module")
def photos(raw_dir: Path) -> list[Path]:
    return sorted((raw_dir / "Images").glob("*.jpg"))[:3]


def test_captions_are_those_of_the_run(
    workdir: Path, photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    captioner, config = load_captioner(workdir)
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image at all")
    names = [*map(str, photos), str(bad)]
    assert run(*names, "--local", f"--workdir={workdir}", "--json") == 1
    printed = capsys.readouterr()
    *good, broken = json.loads(printed.out)
    for row, photo in zip(good, photos, strict=True):
        image = decode(photo.read_bytes(), config.model.image_size)[None]
        found = captioner.caption_features(captioner.encoder(image), config.decode)
        texts = captioner.to_text(found.tokens).numpy()[0]
        assert [other["caption"] for other in row["alternatives"]] == [
            text.decode() for text in texts
        ]
        scores = [other["score"] for other in row["alternatives"]]
        assert scores == pytest.approx(found.scores.numpy()[0].tolist(), rel=1e-5)
        assert row["caption"] == row["alternatives"][0]["caption"] and row["model_version"] == 0
    assert broken["error"] == "not an image: JPEG, PNG, GIF, BMP or WebP is required"
    assert f"imgcap-caption: {bad}: {broken['error']}" in printed.err


def test_greedy_and_errors_of_one_image(workdir: Path, photos: list[Path]) -> None:
    captioner = LocalCaptioner(str(workdir), greedy=True)
    assert len(captioner.caption(photos[0]).alternatives) == 1
    with pytest.raises(BadImage, match="the file is empty"):
        captioner.caption(b"")
    with pytest.raises(BadImage, match="can't be read: No such file"):
        captioner.caption("nowhere.jpg")


@pytest.mark.parametrize(
    "flags, status, message",
    [
        (["--workdir=run"], 2, "--workdir=run is given without --local"),
        (["--local", "--workdir=nowhere"], 1, "config.json is missing: give --workdir a directory"),
        (["--local", "--workdir=pretrained:coco"], 1, "no captioner is called pretrained:coco"),
        (
            ["--server=localhost:1"],
            3,
            "no model server answers at localhost:1: start one with imgcap-serve (imgcap-serve "
            "--model_base_path=MODELS/imgcap for a model of your own), or ask none by --local",
        ),
    ],
)
def test_errors_are_one_line(
    photos: list[Path], capsys: pytest.CaptureFixture[str], flags: list[str], status: int, message
) -> None:
    assert run(str(photos[0]), *flags) == status
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_only_local_imports_tensorflow() -> None:
    code = (
        "import sys\n"
        "from serving.cli import caption\n"
        "caption.main(['imgcap-caption', 'nowhere.jpg', '--server=localhost:1'])\n"
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
