"""Captions by which a checkpoint is chosen while training: those that evaluation will give."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from imgcap.cli import evaluate, train
from imgcap.config import DecodeConfig, ModelConfig
from imgcap.data.batches import EvaluationBatch
from imgcap.evaluation.generate import make_caption_step
from imgcap.model.captioner import Captioner
from imgcap.model.decoders import make_decoder
from imgcap.model.precision import dtype_policy

MODEL = ModelConfig(decoder="attention", units=16, embedding_dim=8, attention_units=8)
VOCABULARY, POSITIONS, CHANNELS, IMAGES = 20, 4, 6, 16


def make_captioner(precision: str) -> Captioner:
    with dtype_policy(precision):
        decoder = make_decoder(MODEL, VOCABULARY, (POSITIONS, CHANNELS))
    rng = np.random.default_rng(0)
    decoder.set_weights([rng.normal(size=one.shape) for one in decoder.get_weights()])
    return Captioner(SimpleNamespace(), decoder, None)


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_bfloat16_decoder_is_searched_in_float32(replicas: int) -> None:
    features = np.random.default_rng(1).normal(size=[IMAGES, POSITIONS, CHANNELS])
    features = tf.constant(features, tf.float32)
    options = DecodeConfig(max_length=8)
    strategy = tf.distribute.get_strategy()
    if replicas > 1:
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        captioner = make_captioner("mixed_bfloat16")
    step = make_caption_step(captioner, strategy, options, encoded=True)
    rows = IMAGES // replicas

    def share(context: tf.distribute.experimental.ValueContext) -> EvaluationBatch:
        first = context.replica_id_in_sync_group * rows
        places = tf.range(first, first + rows, dtype=tf.int64)
        return EvaluationBatch(places, features[first : first + rows])

    number, tokens, scores, _ = step(strategy.experimental_distribute_values_from_function(share))
    assert number.numpy().tolist() == list(range(IMAGES))
    wanted = make_captioner("float32").caption_features(features, options)
    np.testing.assert_array_equal(tokens, wanted.tokens)
    np.testing.assert_allclose(scores, wanted.scores, rtol=1e-5)
    # It makes a difference, and training goes on in bfloat16.
    half = captioner.caption_features(features, options)
    assert np.abs(half.scores - wanted.scores).max() > 1e-3
    assert {one.compute_dtype for one in captioner.decoder._flatten_layers()} == {"bfloat16"}


def test_the_last_dev_score_is_what_evaluation_prints(
    train_flags: list[str], data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Read from images: stored features are rounded to float16.
    flags = ["--precision=mixed_bfloat16", "--ema_momentum=0.5", "--nocache_features"]
    more = ["--epochs=1", "--seed=1"]
    assert train.main(["t", f"--workdir={tmp_path}", *train_flags, *flags, *more]) == 0
    last = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    capsys.readouterr()
    argv = [f"--workdir={tmp_path}", f"--data_dir={data_dir}", "--split=dev"]
    assert evaluate.main(["e", *argv]) == 0
    scores = json.loads((tmp_path / "scores_dev.json").read_text())
    assert scores["cider"] == last["dev_cider"]
    assert scores["bleu_4"] == last["dev_bleu_4"] > 0
    assert f"{last['dev_cider']:.2f}" in capsys.readouterr().out
