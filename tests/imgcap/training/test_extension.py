"""A decoder that learns new words: what it knew stays, and a new word starts as the mean."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from imgcap.cli import prepare, train
from imgcap.config import ModelConfig
from imgcap.data.text.vocabulary import SPECIALS, Vocabulary
from imgcap.errors import DataError
from imgcap.model.decoders import Decoder, make_decoder
from imgcap.run.restore import load_captioner
from imgcap.training.extension import extend_decoder, refuse_other_words

OLD, NEW = 11, 14


def decoder(name: str, tied: bool, words: int) -> Decoder:
    config = ModelConfig(
        decoder=name, units=8, embedding_dim=6, attention_units=5, tie_weights=tied
    )
    return make_decoder(config, words, (4, 3))


@pytest.mark.parametrize(("name", "tied"), [("attention", False), ("par_inject", True)])
def test_old_words_keep_their_logits_and_new_ones_have_the_mean(name: str, tied: bool) -> None:
    old, new = decoder(name, tied, OLD), decoder(name, tied, NEW)
    rng = np.random.default_rng(0)
    for variable in old.variables:
        variable.assign(rng.normal(size=variable.shape))
    extend_decoder(old, new)
    changed = {
        before.path.rpartition("/")[2]: (before.numpy(), after.numpy())
        for before, after in zip(old.variables, new.variables, strict=True)
        if before.shape != after.shape
    }
    assert set(changed) == ({"embeddings", "bias"} if tied else {"embeddings", "kernel", "bias"})
    for part, (before, after) in changed.items():
        rows = (before.T, after.T) if part == "kernel" else (before, after)
        np.testing.assert_array_equal(rows[1][:OLD], rows[0])
        for row in rows[1][OLD:]:
            np.testing.assert_allclose(row, rows[0].mean(axis=0), atol=1e-6)

    features = tf.constant(rng.normal(size=(2, 1 if old.pooled else 4, 3)), tf.float32)
    tokens = tf.constant([[1, 5, 10], [1, 4, 9]])
    logits = [one.teacher_forcing(tokens, one.begin(features)).logits.numpy() for one in (old, new)]
    np.testing.assert_allclose(logits[1][..., :OLD], logits[0], rtol=1e-4, atol=1e-4)
    for word in range(OLD, NEW):
        np.testing.assert_allclose(logits[1][..., word], logits[0].mean(-1), rtol=1e-4, atol=1e-4)
    assert tf.nn.softmax(logits[1]).numpy()[..., OLD:].max() <= 1 / OLD


def test_words_of_another_run_are_named() -> None:
    known = Vocabulary((*SPECIALS, "a", "dog"))
    refuse_other_words("RUN", known, known)
    refuse_other_words("RUN", known, Vocabulary((*known.words, "cat")))
    for words, message in (
        (("a", "cat", "dog"), "line 6 of vocab.txt: 'cat' in place of 'dog'"),
        (("a",), "line 6 of vocab.txt: nothing in place of 'dog'"),
    ):
        with pytest.raises(DataError, match=re.escape(message)) as raised:
            refuse_other_words("RUN", known, Vocabulary((*SPECIALS, *words)))
        assert str(raised.value).startswith("--finetune_from=RUN has vocabulary")
        assert "prepare new data by imgcap-prepare --vocabulary=RUN" in str(raised.value)


def test_tuning_on_data_with_new_words(
    raw_dir: Path, workdir: Path, train_flags: list[str], tmp_path: Path
) -> None:
    raw = shutil.copytree(raw_dir, tmp_path / "raw")
    text = (raw / "captions.txt").read_text()
    (raw / "captions.txt").write_text(text.replace("picture", "photograph"))
    data = tmp_path / "data"
    asked = [f"--raw_dir={raw}", f"--output_dir={data}", "--num_processes=1", "--num_shards=1"]
    assert prepare.main(["p", *asked, f"--vocabulary={workdir}", "--extend_vocabulary"]) == 0
    made = json.loads((data / "manifest.json").read_text())
    assert made["new_words"] == 1 and made["text"]["<unk>_fraction_train"] == 0

    still = ["--learning_rate=1e-12", "--max_steps=1", f"--data_dir={data}"]
    tuned = tmp_path / "tuned"
    flags = [f"--workdir={tuned}", *train_flags, *still, f"--finetune_from={workdir}"]
    assert train.main(["t", *flags]) == 0
    before, after = load_captioner(workdir)[0], load_captioner(tuned)[0]
    assert after.vocabulary.words == (*before.vocabulary.words, "photograph")
    for old, new in zip(before.decoder.variables, after.decoder.variables, strict=True):
        same = new.numpy()[tuple(slice(length) for length in old.shape)]
        np.testing.assert_allclose(same, old.numpy(), atol=1e-9)
