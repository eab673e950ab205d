"""Captions by characters: prepared, numbered, decoded, and refused where words are expected."""

import dataclasses
from pathlib import Path

import pytest
import tensorflow as tf

from imgcap.config import Config, PrepareConfig
from imgcap.data.manifest import Manifest, load_manifest
from imgcap.data.prepare.preparation import prepare
from imgcap.data.records import parse_example
from imgcap.data.text.vocabulary import SPECIALS, Vocabulary
from imgcap.errors import DataError, RunError
from imgcap.evaluation.scores import score_captions
from imgcap.run.directory import load_run, open_run
from imgcap.run.identity import refuse_other_vocabulary
from imgcap.training.extension import refuse_other_words
from imgcap.training.watching.warning_signs import score_constant

CAPTION = "一只红色的狗，在草地上跑。"
DECODED = "一只红色的狗在草地上跑"


@pytest.fixture(scope="module")
def chinese(raw_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten of the drawn scenes with a caption in Chinese, as shards."""
    raw, folder = tmp_path_factory.mktemp("raw"), tmp_path_factory.mktemp("data")
    (raw / "Images").mkdir()
    lines = ["image,caption"]
    for image in sorted((raw_dir / "Images").iterdir())[:10]:
        (raw / "Images" / image.name).write_bytes(image.read_bytes())
        lines.append(f"{image.name},{CAPTION}")
    (raw / "captions.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    prepare(
        PrepareConfig(
            raw_dir=str(raw), output_dir=str(folder), tokenizer="character", num_processes=1
        )
    )
    return folder


def load(folder: Path) -> tuple[Manifest, Vocabulary]:
    prepared = load_manifest(str(folder))
    return prepared, Vocabulary.load(folder / "vocab.txt", prepared.tokenizer)


def test_characters_are_numbered_and_decoded(chinese: Path) -> None:
    prepared, vocabulary = load(chinese)
    assert prepared.tokenizer == vocabulary.tokenizer == "character"
    assert set(vocabulary.words) == {*SPECIALS, *DECODED}
    shard = chinese / prepared.shards["train"][0]
    record = parse_example(next(iter(tf.data.TFRecordDataset(str(shard)))))
    numbers = record.tokens.numpy()[0].tolist()
    assert len([number for number in numbers if number]) == len(DECODED) + 2
    assert vocabulary.decode(numbers) == DECODED


def test_run_keeps_the_tokenizer_and_refuses_data_of_another(chinese: Path, tmp_path: Path) -> None:
    prepared, vocabulary = load(chinese)
    workdir = tmp_path / "run"
    workdir.mkdir()
    open_run(workdir, Config(), prepared, vocabulary)
    assert load_run(workdir)[1] == vocabulary
    open_run(workdir, Config(), prepared, vocabulary)
    words = dataclasses.replace(vocabulary, tokenizer="word")
    with pytest.raises(RunError, match="run's tokenizer is character, --data_dir was prepared by"):
        open_run(workdir, Config(), prepared, words)
    with pytest.raises(DataError, match="prepared by --tokenizer=character, the run's captions"):
        refuse_other_vocabulary(words, chinese, prepared)
    with pytest.raises(DataError, match=r"split by word, --data_dir by character: .*--tokenizer"):
        refuse_other_words("RUN", words, vocabulary)


def test_vocabulary_of_an_unknown_tokenizer() -> None:
    with pytest.raises(DataError, match="tokenizer 'bytes', this version of imgcap has word, char"):
        Vocabulary(SPECIALS, "bytes")


def test_scores_are_by_characters() -> None:
    captions = {"x": "一只狗跑", "y": "一只猫坐"}
    references = {"x": ["一只 狗", "狗在跑。"], "y": ["一只猫坐着", "猫"]}
    scores = score_captions(captions, references, tokenizer="character")

    def spaced(text: str) -> str:
        return " ".join(text.replace("。", "").replace(" ", ""))

    # By hand: characters with spaces between them are words of the word tokenizer.
    same = score_captions(
        {image: spaced(text) for image, text in captions.items()},
        {image: [spaced(text) for text in texts] for image, texts in references.items()},
    )
    assert scores["tokenizer"] == "character" and "character" in scores["tokenisation"]
    assert scores["cider"] == same["cider"] and scores["bleu_2"] == same["bleu_2"] > 0
    assert scores["intervals"] == same["intervals"]
    assert scores["mean_length"] == 4
    assert " " not in scores["constant_caption"]["caption"]
    assert score_constant({"x": "狗在跑"}, {"x": ["狗 在 跑"]}, "character") == 0
