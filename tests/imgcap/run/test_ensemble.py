"""An ensemble as a run: captions of its members together, on its own, wherever a run is taken."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from export import card
from export.cli import main as export_main
from imgcap import signature
from imgcap.cli import train
from imgcap.cli.runs import average, ensemble, pack
from imgcap.config import Config, DecodeConfig, ModelConfig, TrainConfig
from imgcap.data import manifest, records
from imgcap.data.text.vocabulary import Vocabulary
from imgcap.model.captioner import Captioner, make_captioner
from imgcap.model.decoders import Ensemble
from imgcap.run import checkpoints
from imgcap.run.checkpoints import tf_variables
from imgcap.run.directory import open_run
from imgcap.run.restore import load_captioner
from tests.conftest import IMAGE_SIZE
from tests.support.sharing import forget_checksums


def write_run(
    folder: Path, data_dir: Path, encoder_file: Path, decoder: str, seed: int, units: int = 12
) -> Path:
    """Writes a run that was never trained, with drawn weights."""
    model = ModelConfig(
        encoder=str(encoder_file),
        image_size=IMAGE_SIZE,
        decoder=decoder,
        units=units,
        embedding_dim=8,
        attention_units=6,
    )
    # Without its data, which an export would calibrate it on.
    train_config = TrainConfig(workdir=str(folder), seed=seed)
    config = Config(model, train_config, DecodeConfig(beam_width=2, max_length=6))
    found = manifest.load_manifest(data_dir)
    vocabulary = Vocabulary.load(data_dir / "vocab.txt", found.tokenizer)
    folder.mkdir(parents=True)
    open_run(folder, config, found, vocabulary)
    keras.utils.set_random_seed(seed)
    captioner = make_captioner(model, vocabulary)
    rng = np.random.default_rng(seed)
    decoder_weights = captioner.decoder.get_weights()
    captioner.decoder.set_weights([rng.normal(size=each.shape) for each in decoder_weights])
    checkpoints.save_encoder(folder, tf_variables(captioner.encoder.variables))
    saved = {"decoder": tf_variables(captioner.decoder.variables)}
    checkpoints.save(folder, saved, checkpoints.Progression(step=seed + 1), keep=1)
    return folder


@pytest.fixture(scope="module")
def attending(
    data_dir: Path, encoder_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """Two runs on one grid, of different decoders and widths."""
    folder = tmp_path_factory.mktemp("attending")
    return [
        write_run(folder / "soft", data_dir, encoder_file, "attention", 0),
        write_run(folder / "sentinel", data_dir, encoder_file, "adaptive", 1, units=9),
    ]


def make(output: Path, *arguments: object) -> int:
    return ensemble.main(["imgcap-ensemble", *map(str, arguments), f"--workdir={output}"])


@pytest.fixture(scope="module")
def made(attending: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ensemble whose members are gone."""
    folder = tmp_path_factory.mktemp("ensemble")
    copies = [shutil.copytree(run, folder / run.name) for run in attending]
    assert make(folder / "both", *copies, "--weights=1,3") == 0
    for copy in copies:
        shutil.rmtree(copy)
    assert [path.name for path in folder.iterdir()] == ["both"]
    return folder / "both"


def weights_of(captioner: Captioner) -> list[np.ndarray]:
    variables = (*captioner.decoder.variables, *captioner.encoder.variables)
    return [variable.numpy() for variable in variables]


def test_it_holds_the_weights_of_all_and_the_encoder_once(
    made: Path, attending: list[Path]
) -> None:
    parts = [load_captioner(run)[0] for run in attending]
    decoders = [value.numpy() for part in parts for value in part.decoder.variables]
    encoder = [value.numpy() for value in parts[0].encoder.variables]
    captioner, config = load_captioner(made)
    for got, wanted in zip(weights_of(captioner), [*decoders, *encoder], strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert config.decode == load_captioner(attending[0])[1].decode
    found = {str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()}
    checkpoint = ("state.json", "weights.index", "weights.data-00000-of-00001")
    assert found == {
        *("config.json", "run.json", "vocab.txt", "encoder.keras"),
        *(f"checkpoints/1/{name}" for name in checkpoint),
    }
    said = json.loads((made / "run.json").read_text())["ensemble"]
    assert said["mean_of"] == "log"
    assert [
        (each["run"], each["step"], each["seed"], each["weight"], each["model"]["decoder"])
        for each in said["members"]
    ] == [("soft", 1, 0, 0.25, "attention"), ("sentinel", 2, 1, 0.75, "adaptive")]


def test_the_export_says_what_the_run_says_and_what_it_is(
    made: Path, attending: list[Path], data_dir: Path, tmp_path: Path
) -> None:
    flags = [f"--workdir={made}", f"--output_dir={tmp_path}", "--nocheck"]
    assert export_main(["imgcap-export", *flags]) == 0
    paths = manifest.shard_paths(data_dir, manifest.load_manifest(data_dir), "dev")
    rows = tf.data.TFRecordDataset([*map(str, paths)]).map(records.parse_example)
    images = tf.stack([row.image_bytes for row in rows])
    signatures = tf.saved_model.load(str(tmp_path / "1")).signatures
    answer = signatures[signature.DECODE_DETAILS](image_bytes=images)
    features = signatures[signature.ENCODE](image_bytes=images)[signature.FEATURES]
    captioner, config = load_captioner(made)
    wanted = captioner.caption_features(features, config.decode)
    tokens = answer[signature.TOKENS]
    np.testing.assert_array_equal(tokens, wanted.tokens)
    np.testing.assert_allclose(answer[signature.SCORES], wanted.scores, rtol=1e-5)
    assert len(set(answer[signature.CAPTION].numpy().tolist())) > 1

    soft, sentinel = (
        load_captioner(run)[0].attention_weights(features, tokens).numpy() for run in attending
    )
    found = answer[signature.ATTENTION]
    np.testing.assert_allclose(found, 0.25 * soft + 0.75 * sentinel, atol=1e-5)

    facts = card.read_manifest(tmp_path / "1")
    assert [member["run"] for member in facts["ensemble"]["members"]] == ["soft", "sentinel"]
    text = (tmp_path / "1" / "MODEL_CARD.md").read_text()
    sentence = (
        "1 × attention + 1 × adaptive that choose each word by the mean of their "
        "log-probabilities: soft (seed 0, step 1, weight 0.25), sentinel (seed 1, step 2, weight "
        "0.75)"
    )
    assert sentence in text and str(made.parent) not in text


def test_twice_one_run_is_that_run(attending: list[Path], tmp_path: Path) -> None:
    alone, config = load_captioner(attending[0])
    shape = [3, *alone.encoder.features_shape]
    features = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    wanted = alone.caption_features(features, config.decode)
    for mean_of in ("log", "probability"):
        twice = tmp_path / mean_of
        assert make(twice, attending[0], attending[0], f"--ensemble={mean_of}") == 0
        captioner = load_captioner(twice)[0]
        assert isinstance(captioner.decoder, Ensemble) and captioner.attends
        found = captioner.caption_features(features, config.decode)
        np.testing.assert_array_equal(found.tokens, wanted.tokens)
        np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-5)


def test_a_packed_run_is_a_member_and_an_ensemble_is_packed(
    made: Path, attending: list[Path], tmp_path: Path
) -> None:
    """The encoder of a packed run was rounded, and is still that of the run it was made of."""
    small, both, packed = (tmp_path / name for name in ("small", "both", "packed"))
    assert pack.main(["imgcap-pack", str(attending[1]), f"--output_dir={small}"]) == 0
    assert make(both, attending[0], small) == 0
    assert pack.main(["p", str(both), f"--output_dir={packed}", "--weights=float32"]) == 0
    for got, wanted in zip(
        weights_of(load_captioner(packed)[0]), weights_of(load_captioner(both)[0]), strict=True
    ):
        np.testing.assert_array_equal(got, wanted)
    text = (packed / "MODEL_CARD.md").read_text()
    assert "* An ensemble: 1 × attention + 1 × adaptive that choose each word" in text


def changed(run: Path, output: Path, name: str, old: str, new: str) -> Path:
    """A copy of a run with another text in one of its files."""
    shutil.copytree(run, output)
    text = (output / name).read_text()
    assert old in text
    (output / name).write_text(text.replace(old, new))
    forget_checksums(output)
    return output


def test_runs_that_do_not_fit_together(
    attending: list[Path],
    data_dir: Path,
    encoder_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, remedy = attending[0], "an ensemble needs runs with one encoder on one data set"
    pooled = write_run(tmp_path / "pooled", data_dir, encoder_file, "pre_inject", 2)
    other = shutil.copytree(run, tmp_path / "other")
    captioner = load_captioner(run)[0]
    captioner.encoder.network.set_weights(
        [value + 1 for value in captioner.encoder.network.get_weights()]
    )
    shutil.rmtree(other / "encoder")
    checkpoints.save_encoder(other, tf_variables(captioner.encoder.variables))
    identity = json.loads((run / "run.json").read_text())
    data = changed(run, tmp_path / "data", "run.json", identity["data"], "0123456789abcdef")
    words = changed(run, tmp_path / "words", "vocab.txt", "\na\n", "\nå\n")
    fingerprint = Vocabulary.load(words / "vocab.txt", "word").fingerprint
    tree = json.loads((words / "run.json").read_text())
    (words / "run.json").write_text(json.dumps({**tree, "vocabulary": fingerprint}))
    unfinished = shutil.copytree(run, tmp_path / "unfinished")
    shutil.rmtree(unfinished / "checkpoints")
    for given, line in [
        ([run, other], f"{other} has encoder "),
        ([run, pooled], f"{pooled} has features averaged over the image, {run} has of a grid"),
        ([run, data], f"{data} has data 0123456789abcdef, {run} has {identity['data']}"),
        ([run, words], f"{words} has vocabulary {fingerprint}, {run} has {tree['vocabulary']}"),
    ]:
        assert make(tmp_path / "new", *given) == 1
        error = capsys.readouterr().err
        assert line in error and remedy in error and error.count("\n") == 1
    assert make(tmp_path / "new", run, unfinished) == 1
    assert f"{unfinished / 'checkpoints'} holds no checkpoint yet" in capsys.readouterr().err
    assert make(tmp_path / "new", run, tmp_path) == 1
    assert "name run directories of imgcap-train" in capsys.readouterr().err
    assert make(other, run, run) == 1
    assert f"{other} exists: give a new --workdir" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ([], "name at least two run directories"),
        (["two", "--weights=1,2,3"], "--weights=1,2,3 has 3 numbers for 2 runs"),
        (["two", "--weights=1,0"], "--weights=1,0 are not all numbers above 0"),
        (["two", "--weights=1,x"], "--weights=1,x are not all numbers above 0"),
        (["two", "--weights=1,nan"], "--weights=1,nan are not all numbers above 0"),
        (["two", "--workdir=pretrained:flickr8k"], "--workdir would change pretrained:flickr8k"),
    ],
)
def test_wrong_usage(
    flags: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ensemble.main(["e", f"--workdir={tmp_path / 'new'}", "one", *flags]) == 2
    assert line in capsys.readouterr().err


def test_what_is_not_done_with_an_ensemble(
    made: Path,
    attending: list[Path],
    train_flags: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    what, new = f"{made} is an ensemble of soft, sentinel: ", tmp_path / "new"
    statuses = [
        train.main(["t", *train_flags, f"--workdir={made}"]),
        train.main(["t", *train_flags, f"--workdir={new}", f"--finetune_from={made}"]),
        average.main(["a", str(made), f"--workdir={new}"]),
        make(new, attending[0], made),
    ]
    assert statuses == [1] * 4
    assert [line.partition(what)[2] for line in capsys.readouterr().err.splitlines()] == [
        "train into a new --workdir",
        "tune its members, and make an ensemble of the tuned ones",
        "average its members, or make an ensemble of averages",
        "name its members instead",
    ]
    assert not (new / "run.json").exists()
