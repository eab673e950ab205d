"""Preparation: what is in the shards, resuming, and every refusal."""

import dataclasses
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
import tensorflow as tf

from imgcap.cli import prepare
from imgcap.config import PrepareConfig
from imgcap.data.manifest import count_images, load_manifest
from imgcap.data.prepare import describe, preparation
from imgcap.data.prepare.words import choose_min_count
from imgcap.data.raw import drawn
from imgcap.data.records import parse_example
from imgcap.data.shards import references, refuse_missing
from imgcap.data.text.tokenisation import normalise
from imgcap.data.text.vocabulary import SPECIALS, Vocabulary
from imgcap.errors import DataError
from imgcap.files.locking import locked
from tests.support.sharing import forget_checksums


def config(raw_dir: Path, output_dir: Path, **values) -> PrepareConfig:
    values = {"num_shards": 4, "min_count": 2, "num_processes": 2, **values}
    return PrepareConfig(raw_dir=str(raw_dir), output_dir=str(output_dir), **values)


def test_every_image_once_with_its_bytes_and_captions(raw_dir: Path, data_dir: Path) -> None:
    prepared = load_manifest(data_dir)
    vocabulary = Vocabulary.load(data_dir / "vocab.txt")
    seen = {}
    for name in (name for names in prepared.shards.values() for name in names):
        for row in map(parse_example, tf.data.TFRecordDataset(str(data_dir / name))):
            image_id = row.image_id.numpy().decode()
            assert row.image_bytes.numpy() == (raw_dir / "Images" / image_id).read_bytes()
            captions = [text.decode() for text in row.captions.numpy()]
            expected = [
                vocabulary.encode(normalise(text), prepared.max_length) for text in captions
            ]
            assert [
                [token for token in tokens if token] for tokens in row.tokens.numpy().tolist()
            ] == expected
            assert image_id not in seen
            seen[image_id] = name.split("-")[0]
    assert sorted(seen) == sorted(path.name for path in (raw_dir / "Images").iterdir())
    assert prepared.images == {"train": 32, "dev": 4, "test": 4}
    assert prepared.captions == {"train": 160, "dev": 20, "test": 20}
    assert sum(prepared.token_counts.values()) == 160


def test_vocabulary_is_from_the_training_split_alone(raw_dir: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    drawn.write_dataset(raw, 40, seed=0)
    held_out = (raw / "Flickr_8k.testImages.txt").read_text().split()[0]
    with (raw / "captions.txt").open("a") as file:
        file.write(f"{held_out},zebra zebra zebra\n")
    preparation.prepare(config(raw, tmp_path / "data"))
    assert "zebra" not in Vocabulary.load(tmp_path / "data" / "vocab.txt").words


def test_unreadable_images_are_left_out_and_named(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    drawn.write_dataset(raw, 40, seed=0)
    (raw / "Images" / "scene_0000.jpg").write_bytes(b"")
    truncated = (raw / "Images" / "scene_0001.jpg").read_bytes()[:200]
    (raw / "Images" / "scene_0001.jpg").write_bytes(truncated)
    with pytest.raises(
        DataError, match=r"2 of 40 images are unreadable.*scene_0000.jpg: .*; scene_0001.jpg: "
    ):
        preparation.prepare(config(raw, tmp_path / "data"))
    assert not (tmp_path / "data" / "manifest.json").exists()
    prepared = preparation.prepare(config(raw, tmp_path / "data", max_bad_fraction=0.1))
    assert sorted(prepared.unreadable) == ["scene_0000.jpg", "scene_0001.jpg"]
    assert prepared.images["train"] == 30


def test_a_second_run_keeps_finished_shards(
    raw_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(preparation, "refuse_too_many_unreadable", interrupted)
        with pytest.raises(KeyboardInterrupt):
            preparation.prepare(config(raw_dir, tmp_path))
    assert not (tmp_path / "manifest.json").exists()
    lost = tmp_path / "train-00001-of-00004.tfrecord"
    lost.unlink()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.tfrecord")}
    assert preparation.prepare(config(raw_dir, tmp_path)).images["train"] == 32
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert lost.exists()
    assert not (tmp_path / ".parts").exists()
    unchanged = (tmp_path / "manifest.json").stat().st_mtime_ns
    preparation.prepare(config(raw_dir, tmp_path))
    assert (tmp_path / "manifest.json").stat().st_mtime_ns == unchanged


def test_another_preparation_is_not_overwritten(raw_dir: Path, data_dir: Path) -> None:
    with pytest.raises(
        DataError, match=r"manifest.json describes another preparation.*give a new --output_dir"
    ):
        preparation.prepare(config(raw_dir, data_dir, max_length=7))


def test_a_missing_shard_is_named(data_dir: Path, tmp_path: Path) -> None:
    manifest = json.loads((data_dir / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    forget_checksums(tmp_path)
    with pytest.raises(
        DataError, match=r"train-00000-of-00004.tfrecord is missing: run imgcap-prepare"
    ):
        load_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(DataError, match=r"manifest.json can't be read .*run imgcap-prepare"):
        load_manifest(tmp_path)


def test_command_line(raw_dir: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        prepare.main(["imgcap-prepare", f"--raw_dir={data_dir}", f"--output_dir={data_dir}"]) == 1
    )
    assert capsys.readouterr().err.startswith(
        f"imgcap-prepare: error: {data_dir} has no image folder"
    )
    flags = [f"--raw_dir={raw_dir}", f"--output_dir={data_dir}", "--num_shards=4", "--min_count=2"]
    assert prepare.main(["imgcap-prepare", *flags]) == 0
    assert "train: 32 images, 160 captions, 4 shards" in capsys.readouterr().out


def test_official_counts_of_flickr8k(shared: Path) -> None:
    from imgcap.data.raw.reading import find_source, read

    raw = read(find_source(PrepareConfig(raw_dir=str(shared / "flickr8k"))), seed=0)
    assert len(raw.examples) == 7000
    assert len(raw.unlisted) == 91
    assert all(len(example.captions) == 5 for example in raw.examples)


@pytest.mark.parametrize(
    ("counts", "chosen"),
    [
        # 40 of 1,000 words are rarer than 5, which is less than a twentieth.
        ({"a": 960, **{f"rare{n}": 4 for n in range(10)}}, 5),
        ({"a": 940, **{f"rare{n}": 4 for n in range(15)}}, 4),
        ({"a": 900, **{f"twice{n}": 2 for n in range(50)}}, 2),
        ({"a": 900, **{f"once{n}": 1 for n in range(100)}}, 1),
        ({"a": 1}, 1),
    ],
)
def test_the_least_count_leaves_few_words_unknown(counts: dict[str, int], chosen: int) -> None:
    assert choose_min_count(Counter(counts)) == chosen


def test_captions_are_numbered_with_the_words_of_a_run(raw_dir: Path, tmp_path: Path) -> None:
    base = Vocabulary((*SPECIALS, "zebra", "a", "red", "square"))
    flags = {"vocabulary": "runs/first", "max_unknown": 1.0, "min_count": 0}
    prepared = preparation.prepare(config(raw_dir, tmp_path / "same", **flags), base)
    assert prepared.vocabulary_fingerprint == base.fingerprint
    assert (prepared.vocabulary_from, prepared.new_words, prepared.min_count) == (
        "runs/first",
        0,
        0,
    )
    words = [
        word
        for row in tf.data.TFRecordDataset(
            [str(path) for path in sorted((tmp_path / "same").glob("train-*"))]
        )
        for text in parse_example(row).captions.numpy()
        for word in normalise(text.decode())
    ]
    unknown = [word for word in words if word not in base.words]
    assert prepared.unknown_fraction("train") == pytest.approx(len(unknown) / len(words), abs=1e-5)
    assert "(those of runs/first), fingerprint" in describe(prepared)

    longer = preparation.prepare(
        config(raw_dir, tmp_path / "more", **{**flags, "extend_vocabulary": True, "min_count": 30}),
        base,
    )
    written = Vocabulary.load(tmp_path / "more" / "vocab.txt")
    frequent = sorted(
        (word for word, count in Counter(unknown).items() if count >= 30),
        key=lambda word: (-Counter(unknown)[word], word),
    )
    assert written.words == (*base.words, *frequent)
    assert (longer.new_words, longer.min_count) == (len(frequent), 30)
    assert f"those of runs/first and {len(frequent)} new ones, count >= 30" in (describe(longer))


def test_words_that_a_run_does_not_know(
    raw_dir: Path, workdir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(raw_dir, raw)
    text = (raw / "captions.txt").read_text()
    (raw / "captions.txt").write_text(text.replace("The picture", "Das tolle Bild"))
    flags = [f"--raw_dir={raw}", f"--output_dir={tmp_path / 'data'}", "--num_processes=1"]
    named = f"--vocabulary={workdir}"
    assert prepare.main(["p", *flags, named, "--max_unknown=0.05"]) == 1
    error = capsys.readouterr().err
    # The five captions of a scene have 3 + 5 + 7 + 7 + 4 words, of which three are unknown.
    assert f"{raw}: 11.5% of the words of the training captions are unknown to {named}" in error
    assert "more than --max_unknown=0.05: give --extend_vocabulary, or raise the limit" in error
    assert "bild 32 times" in error and error.count("\n") == 1
    assert prepare.main(["p", *flags, named]) == 0
    assert "unknown words: 11.5% of the words of the training captions" in capsys.readouterr().out
    assert prepare.main(["p", *flags, f"--vocabulary={tmp_path}"]) == 1
    assert "give --vocabulary a directory that imgcap-train wrote" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--extend_vocabulary"], "--extend_vocabulary adds words to those of a run: give"),
        (["--vocabulary=RUN", "--min_count=3"], "--vocabulary=RUN has all words already: give"),
    ],
)
def test_words_from_nowhere(
    raw_dir: Path, tmp_path: Path, flags: list[str], message: str, capsys
) -> None:
    assert prepare.main(["p", f"--raw_dir={raw_dir}", f"--output_dir={tmp_path}", *flags]) == 2
    assert message in capsys.readouterr().err


def test_the_kind_of_pictures(raw_dir: Path, data_dir: Path, tmp_path: Path) -> None:
    tree = json.loads((data_dir / "manifest.json").read_text())
    assert tree["pictures"] == "photographs"
    drawings = preparation.prepare(config(raw_dir, tmp_path / "data", pictures="drawings"))
    assert load_manifest(tmp_path / "data").pictures == "drawings"
    assert drawings.fingerprint != tree["fingerprint"]
    # Data that were prepared before the field stay readable.
    for name in ("pictures", "vocabulary_from", "new_words", "sizes", "checksum"):
        del tree[name]
    old = shutil.copytree(data_dir, tmp_path / "old", ignore=shutil.ignore_patterns("features"))
    (old / "manifest.json").write_text(json.dumps(tree))
    prepared = dataclasses.replace(load_manifest(data_dir), sizes={})
    assert load_manifest(old) == prepared
    assert preparation.prepare(config(raw_dir, old)) == prepared


def test_two_preparations_of_one_folder(raw_dir: Path, tmp_path: Path) -> None:
    message = f"{tmp_path} is being prepared by another process: wait for it"
    with locked(tmp_path / ".lock"), pytest.raises(DataError, match=re.escape(message)):
        preparation.prepare(config(raw_dir, tmp_path))


def test_a_shard_cut_off_between_two_records(data_dir: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(data_dir, tmp_path / "data", ignore=shutil.ignore_patterns("features"))
    shard = next(copy.glob("dev-*"))
    whole = shard.read_bytes()
    # A record is its length in 8 bytes and their checksum in 4, then itself and its checksum.
    first = 12 + int.from_bytes(whole[:8], "little") + 4
    shard.write_bytes(whole[:first])
    message = f"{shard} has {first} bytes and was written with {len(whole)}: a shard is damaged"
    with pytest.raises(DataError, match=re.escape(message)):
        load_manifest(copy)
    # The manifest of an earlier version does not say how long it was: the images are counted.
    images = count_images(load_manifest(data_dir), "dev")
    with pytest.raises(DataError, match=f"has 1 images in dev-.*, its manifest says {images}: a"):
        refuse_missing(len(references([str(shard)])), images, [str(shard)])
