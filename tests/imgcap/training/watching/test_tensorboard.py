"""What is written for TensorBoard, read back record by record, and by TensorBoard where it is
installed.
"""

import io
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from imgcap.cli import train
from imgcap.training.watching import tensorboard
from imgcap.training.watching.tensorboard import Board, Sample


def jpeg(width: int, height: int, colour: str) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(content, "JPEG", quality=95)
    return content.getvalue()


def read_events(folder: Path) -> dict[tuple[str, int], tuple[str, np.ndarray]]:
    """(tag, step) to (plugin, values) of all event files."""
    found, plugins = {}, {}
    for path in sorted(folder.glob("events.*")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                # TensorBoard wants the plugin's name with the first value of a tag, and TensorFlow
                # writes it there alone.
                plugins.setdefault(value.tag, value.metadata.plugin_data.plugin_name)
                found[value.tag, event.step] = plugins[value.tag], tf.make_ndarray(value.tensor)
    return found


@pytest.fixture
def board_folder(tmp_path: Path) -> Path:
    samples = [
        Sample("a.jpg", jpeg(64, 48, "red"), "a | red one"),
        Sample("b.jpg", jpeg(640, 320, "blue"), "blue"),
    ]
    board = Board(tmp_path, samples)
    board.scalars(step=3, epoch=1, loss=2.5)
    board.scalars(step=6, epoch=1, loss=1.5, dev_cider=30)
    board.captions(6, ["red " * 20, "blue"])
    board.captions(9, ["red", "blue"])
    return tmp_path


def test_scalars(board_folder: Path) -> None:
    found = {
        key: value for key, value in read_events(board_folder).items() if value[0] == "scalars"
    }
    assert found == {
        ("loss", 3): ("scalars", 2.5),
        ("loss", 6): ("scalars", 1.5),
        ("dev_cider", 6): ("scalars", 30.0),
    }


def test_captions_with_their_images(board_folder: Path) -> None:
    found = read_events(board_folder)
    for name, step, colour, size in (
        ("a.jpg", 6, 0, (64, 48)),
        ("b.jpg", 6, 2, (320, 160)),
        ("b.jpg", 9, 2, (320, 160)),
    ):
        plugin, (width, height, png) = found[f"captions/{name}", step]
        assert plugin == "images"
        with Image.open(io.BytesIO(png)) as picture:
            assert (str(picture.width).encode(), str(picture.height).encode()) == (width, height)
            assert picture.width == size[0] and picture.height > size[1]
            inside, below = (
                picture.getpixel((size[0] // 2, size[1] // 2)),
                np.asarray(picture)[size[1] + 1 :],
            )
            assert inside[colour] > 200 > 60 > max(inside[:colour] + inside[colour + 1 :])
            # The caption is written on white below the photo.
            assert below.max() == 255 and below.min() < 80
    long, short = (int(found["captions/a.jpg", step][1][1]) for step in (6, 9))
    assert long > short
    plugin, text = found["captions", 9]
    assert plugin == "text"
    assert text.item().decode().splitlines()[2:] == [
        "| a.jpg | red | a / red one |",
        "| b.jpg | blue | blue |",
    ]


def test_tensorboard_reads_them(board_folder: Path) -> None:
    reading = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="TensorBoard is not installed",
    )
    events = reading.EventAccumulator(str(board_folder)).Reload()
    assert {"loss", "dev_cider", "captions", "captions/a.jpg"} <= set(events.Tags()["tensors"])
    for plugin, tags in (
        ("scalars", {"loss", "dev_cider"}),
        ("images", {"captions/a.jpg", "captions/b.jpg"}),
    ):
        assert set(events.PluginTagToContent(plugin)) == tags


@pytest.mark.parametrize("installed", [True, False])
def test_a_remark_says_how_to_look(monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    monkeypatch.setattr(
        tensorboard.importlib.util, "find_spec", lambda name: object() if installed else None
    )
    line = tensorboard.remark(Path("run/tensorboard"))
    assert "tensorboard --logdir=run/tensorboard" in line
    assert ("pip install 'imgcap-tf[tensorboard]'" in line) is not installed


def test_a_run_writes_its_curves_captions_and_profile(
    train_flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*train_flags, "--max_steps=4", "--tensorboard", "--profile_steps=2,3"]
    assert train.main(["imgcap-train", f"--workdir={tmp_path}", *flags]) == 0
    found = read_events(tmp_path / "tensorboard")
    assert {step for tag, step in found if tag == "loss"} == {1, 2, 3, 4}
    names = {tag.removeprefix("captions/") for tag, step in found if tag.startswith("captions/")}
    assert (
        ("dev_cider", 4) in found
        and names
        and f"| {min(names)} |" in found["captions", 4][1].item().decode()
    )
    profiles = list((tmp_path / "profile").rglob("*.xplane.pb"))
    assert len(profiles) == 1 and b"train" in profiles[0].read_bytes()
    assert f"profile: {tmp_path}/profile" in capsys.readouterr().out


@pytest.mark.parametrize("value", ["10", "a,b", "5,4", "0,3", "3,", "1,2,3"])
def test_profile_steps_that_are_none(
    train_flags: list[str], tmp_path: Path, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        train.main(
            [
                "imgcap-train",
                f"--workdir={tmp_path / 'run'}",
                *train_flags,
                f"--profile_steps={value}",
            ]
        )
        == 2
    )
    assert capsys.readouterr().err.count(f"--profile_steps={value} is no first and last step") == 1
    assert not (tmp_path / "run").exists()
