"""Document frequencies of a run: kept by training, counted again if they are missing, and used."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from imgcap.cli.evaluate import main as evaluate_main
from imgcap.config import Config, DecodeConfig, TrainConfig
from imgcap.data.image import decode
from imgcap.data.manifest import load_manifest, shard_paths
from imgcap.data.records import parse_example
from imgcap.data.shards import reference_tokens, references
from imgcap.data.text.ngrams import DocumentFrequencies
from imgcap.data.text.tokenisation import normalise
from imgcap.data.text.vocabulary import END, Vocabulary
from imgcap.errors import RunError
from imgcap.evaluation.frequencies import ensure_reward
from imgcap.evaluation.scores import cider
from imgcap.run.directory import FREQUENCIES
from imgcap.run.restore import load_captioner
from imgcap.training import trainer

MBR = DecodeConfig().override({"search": "mbr"})


@pytest.fixture
def older(workdir: Path, tmp_path: Path) -> Path:
    """A copy of the run as earlier versions wrote it."""
    run = tmp_path / "older"
    shutil.copytree(workdir, run, ignore=shutil.ignore_patterns(FREQUENCIES, "scores_*", "capt*"))
    return run


def test_a_run_keeps_those_of_its_training_captions(workdir: Path, data_dir: Path) -> None:
    vocabulary = Vocabulary.load(workdir / "vocab.txt")
    found = DocumentFrequencies.load(workdir / FREQUENCIES, vocabulary)
    groups = [
        [(*vocabulary.encode(normalise(text), 20)[1:],) for text in person.captions]
        for person in references(shard_paths(data_dir, load_manifest(data_dir), "train"))
    ]
    assert all(caption[-1] == END for group in groups for caption in group)
    counted = cider.DocumentFrequencies.build(groups)
    assert found.images == counted.images == 32
    base = len(vocabulary)
    expected = {}
    for ngram, rarity in counted.rarities.items():
        key = 0
        for word in ngram:
            key = key * base + int(word)
        expected[key] = round(32 / np.exp(rarity))
    assert dict(zip(found.keys.tolist(), found.counts.tolist(), strict=True)) == {
        key: count for key, count in expected.items() if count > 1
    }


def test_of_very_many_images_they_are_counted_only_if_needed(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "COUNTED_IMAGES", 31)
    train = TrainConfig(data_dir=str(data_dir), workdir=str(tmp_path))
    for options in (DecodeConfig(), MBR):
        trainer._keep_frequencies(trainer.load_data(Config(train=train, decode=options)))
        assert (tmp_path / FREQUENCIES).exists() == options.needs_reward


def test_an_older_run_is_counted_once_and_evaluated(
    older: Path, workdir: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [f"--workdir={older}", f"--data_dir={data_dir}", "--split=dev", "--search=mbr"]
    assert evaluate_main(["imgcap-evaluate", *flags, "--num_samples=6"]) == 0
    assert (older / FREQUENCIES).read_bytes() == (workdir / FREQUENCIES).read_bytes()
    printed = capsys.readouterr()
    assert "dev: 4 images, of 5 beams the most like 6 samples, 95 % intervals" in printed.out
    assert "count n-grams" in printed.err
    name = "dev_search=mbr,beam_width=5,num_samples=6,temperature=0.7"
    lines = (older / f"captions_{name}.jsonl").read_text().splitlines()
    captioner, config = load_captioner(older)
    options = config.decode.override({"search": "mbr", "num_samples": 6})
    paths = shard_paths(data_dir, load_manifest(data_dir), "dev")
    for row, line in zip(tf.data.TFRecordDataset(paths).map(parse_example), lines, strict=True):
        image = decode(row.image_bytes.numpy(), config.model.image_size)
        features = captioner.encoder(image[tf.newaxis])
        found = captioner.to_text(captioner.caption_features(features, options).tokens)
        assert json.loads(line)["caption"] == found[0, 0].numpy().decode()


def test_without_the_data_of_the_run_it_says_what_to_do(
    older: Path, data_dir: Path, tmp_path: Path
) -> None:
    captioner, _ = load_captioner(older)
    other = tmp_path / "other"
    other.mkdir()
    tree = json.loads((data_dir / "manifest.json").read_text())
    tree.pop("checksum", None)
    (other / "manifest.json").write_text(json.dumps({**tree, "fingerprint": "0" * 16}))
    ensure_reward(older, captioner, DecodeConfig(), [], keep=True)  # a beam needs none
    with pytest.raises(RunError) as caught:
        ensure_reward(older, captioner, MBR, [tmp_path / "absent", "", other], keep=True)
    assert str(caught.value) == (
        f"{older} has no document_frequencies.npz, which --search=mbr needs: run imgcap-evaluate "
        f"--workdir={older} --search=mbr with the --data_dir that it was trained on, which counts "
        "and keeps them"
    )
    with pytest.raises(RunError, match="is not to be changed: tune it into a run of your own$"):
        ensure_reward(older, captioner, MBR, [other], keep=False)
    ensure_reward(older, captioner, MBR, [other, data_dir], keep=False)
    assert captioner.reward is not None and not (older / FREQUENCIES).exists()


def test_damage_is_left_out_if_asked(data_dir: Path, tmp_path: Path) -> None:
    paths = shard_paths(data_dir, load_manifest(data_dir), "train")[:2]
    whole = list(reference_tokens(paths))
    torn = tmp_path / "torn.tfrecord"
    torn.write_bytes(Path(paths[0]).read_bytes()[:-9])
    rest = list(reference_tokens([str(torn), paths[1]], skip_bad=True))
    assert len(rest) == len(whole) - 1
    first = len(list(reference_tokens(paths[:1])))
    for found, wanted in zip(rest, [*whole[: first - 1], *whole[first:]], strict=True):
        np.testing.assert_array_equal(found, wanted)
    with pytest.raises(tf.errors.DataLossError):
        list(reference_tokens([str(torn), paths[1]]))
