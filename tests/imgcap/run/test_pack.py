"""A packed run: smaller, with the same captions, and usable wherever a run is."""

import json
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorflow as tf

from imgcap.cli import evaluate, train
from imgcap.cli.runs import average, pack
from imgcap.model.captioner import Captioner
from imgcap.run.checkpoints import best_step
from imgcap.run.restore import load_captioner


def pack_run(run: Path, output: Path, *flags: str) -> int:
    return pack.main(["imgcap-pack", str(run), f"--output_dir={output}", *flags])


@pytest.fixture(scope="module")
def packed(workdir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    notice = folder / "notices.txt"
    notice.write_text("An encoder of somebody else's.\n")
    flags = [f"--notice={notice}", "--license=Apache-2.0"]
    assert pack_run(workdir, folder / "box", *flags) == 0
    return folder / "box"


def weights(captioner: Captioner) -> list[np.ndarray]:
    variables = (*captioner.decoder.variables, *captioner.encoder.variables)
    return [variable.numpy() for variable in variables]


def rounded(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float16).astype(np.float32) if values.ndim > 1 else values


def test_weights_are_those_of_the_run_with_matrices_rounded(workdir: Path, packed: Path) -> None:
    wanted, got = (weights(load_captioner(run)[0]) for run in (workdir, packed))
    assert any(np.any(rounded(values) != values) for values in wanted)
    for before, after in zip(wanted, got, strict=True):
        np.testing.assert_array_equal(after, rounded(before))


def test_each_weight_is_stored_once(workdir: Path, packed: Path) -> None:
    found = {str(path.relative_to(packed)) for path in packed.rglob("*") if path.is_file()}
    step = best_step(workdir)
    checkpoint = {f"checkpoints/{step}/{name}" for name in ("state.json",)} | {
        f"checkpoints/{step}/weights.{end}" for end in ("index", "data-00000-of-00001")
    }
    named = {"config.json", "run.json", "vocab.txt", "encoder.keras", "MODEL_CARD.md", "NOTICE"}
    named.add("document_frequencies.npz")
    # Scores and confidence are there if the run has them, which other tests may give it.
    given = ("scores_", "confidence.")
    assert named | checkpoint == {name for name in found if not name.startswith(given)}
    stored = tf.train.load_checkpoint(str(packed / "checkpoints" / str(step) / "weights"))
    shapes = stored.get_variable_to_shape_map()
    dtypes = stored.get_variable_to_dtype_map()
    saved = [name for name in shapes if name.endswith("VARIABLE_VALUE")]
    assert len(saved) == len(load_captioner(packed)[0].decoder.variables)
    for name in saved:
        assert dtypes[name] == (tf.float16 if len(shapes[name]) > 1 else tf.float32), name
    with zipfile.ZipFile(packed / "encoder.keras") as archive:
        archive.extract("model.weights.h5", packed.parent)
    with h5py.File(packed.parent / "model.weights.h5") as file:
        kernel = file["layers/conv2d/vars/0"]
        assert kernel.dtype == np.float16 and file["layers/conv2d/vars/1"].dtype == np.float32


def test_it_says_what_it_is_and_nothing_of_the_machine(workdir: Path, packed: Path) -> None:
    card = (packed / "MODEL_CARD.md").read_text(encoding="utf-8")
    for words in ("# Captioner box", "Apache-2.0 See [NOTICE]", "weights in float16", "| split |"):
        assert words in card or (words == "| split |" and "Not scored" in card), words
    manifest = json.loads((packed / "run.json").read_text())["packed"]["data"]
    assert f"* dev: {manifest['images']['dev']} images" in card
    assert (packed / "NOTICE").read_text() == "An encoder of somebody else's.\n"
    texts = [path.read_text() for path in packed.glob("*.json")] + [card]
    assert not [text for text in texts if str(workdir.parent) in text or "/tmp" in text]


def test_captions_that_change_are_counted(
    workdir: Path, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--weights=float32", f"--check_data_dir={data_dir}", "--split=dev"]
    assert pack_run(workdir, tmp_path / "same", *flags) == 0
    images = json.loads((data_dir / "manifest.json").read_text())["images"]["dev"]
    sentence = f"float32 changes 0 of {images} captions (dev)"
    assert sentence in capsys.readouterr().out
    assert sentence in (tmp_path / "same" / "MODEL_CARD.md").read_text()
    for before, after in zip(
        weights(load_captioner(workdir)[0]),
        weights(load_captioner(tmp_path / "same")[0]),
        strict=True,
    ):
        np.testing.assert_array_equal(after, before)


def test_it_is_evaluated_averaged_and_packed_again(
    packed: Path, data_dir: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    assert pack_run(packed, again) == 0
    split = [f"--data_dir={data_dir}", "--split=dev"]
    assert evaluate.main(["e", f"--workdir={again}", *split]) == 0
    assert (again / "scores_dev.json").exists()
    mean = tmp_path / "mean"
    assert average.main(["a", str(packed), str(again), f"--workdir={mean}"]) == 0
    assert "packed" not in json.loads((mean / "run.json").read_text())
    for run in (again, mean):
        for before, after in zip(
            weights(load_captioner(packed)[0]), weights(load_captioner(run)[0]), strict=True
        ):
            np.testing.assert_array_equal(after, before)


def test_it_is_tuned_but_not_resumed(
    packed: Path, train_flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [flag for flag in train_flags if not flag.startswith("--epochs")]
    tuned = [f"--workdir={tmp_path / 'tuned'}", f"--finetune_from={packed}", "--max_steps=1"]
    assert train.main(["t", *flags, *tuned]) == 0
    assert train.main(["t", *flags, f"--workdir={packed}"]) == 1
    assert (
        f"{packed} is a packed run, without the optimizer's state: train into a new --workdir "
        f"with --finetune_from={packed}"
    ) in capsys.readouterr().err


def test_what_cannot_be_packed(
    workdir: Path, packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pack_run(workdir, packed) == 1
    assert f"{packed} exists: give a new --output_dir" in capsys.readouterr().err
    assert pack_run(tmp_path, tmp_path / "new") == 1
    assert "config.json is missing" in capsys.readouterr().err
    assert pack_run(workdir, tmp_path / "new", "--notice=nowhere") == 1
    assert "--notice=nowhere can't be read (No such file or directory)" in capsys.readouterr().err
    assert pack.main(["imgcap-pack", f"--output_dir={tmp_path / 'new'}"]) == 2
    assert "name one run directory" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
