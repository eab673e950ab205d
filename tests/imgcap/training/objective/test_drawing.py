"""Captions drawn while training against those of the search, and their log-probabilities and
gradient against the plain formula.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from imgcap.config import DecodeConfig, ModelConfig, TrainConfig
from imgcap.data.text.vocabulary import END, PAD, START
from imgcap.model import search
from imgcap.model.captioner import Captioner
from imgcap.model.decoders import Start, make_decoder
from imgcap.model.rows import repeat_rows
from imgcap.training.objective.drawing import draw_captions
from imgcap.training.objective.self_critical import policy_log_probs

VOCABULARY, SAMPLES, MAX_LENGTH = 13, 3, 7
# With one image there are groups without a caption.
CASES = [("attention", 20), ("inject_and_merge", 1)]
OPTIONS = DecodeConfig(max_length=MAX_LENGTH, num_samples=SAMPLES, temperature=0.6)
CONFIG = TrainConfig(
    data_dir="data",
    workdir="run",
    objective="scst",
    finetune_from="base",
    scst_samples=SAMPLES,
    scst_temperature=0.6,
)


def make(decoder: str) -> Captioner:
    tf.keras.utils.set_random_seed(1)
    config = ModelConfig(decoder=decoder, units=8, embedding_dim=6, attention_units=5)
    made = make_decoder(config, VOCABULARY, (4 if decoder == "attention" else 1, 10))
    for variable in made.trainable_variables:
        variable.assign(3 * variable)  # Some words are probable, others are not.
    return Captioner(SimpleNamespace(), made, None)


def begin(captioner: Captioner, images: int) -> Start:
    positions = 1 if captioner.decoder.pooled else 4
    features = np.random.default_rng(2).normal(size=[images, positions, 10])
    return captioner.decoder.begin(tf.constant(features, tf.float32))


@pytest.mark.parametrize(("decoder", "images"), CASES)
def test_draws_what_the_search_draws(decoder: str, images: int) -> None:
    captioner = make(decoder)
    seeds = tf.range(images)

    @tf.function(autograph=False)
    def draw(start: Start) -> tuple[tf.Tensor, tf.Tensor]:
        step = captioner.bind_step(start, SAMPLES)
        wanted = search.sample(step, start.state, OPTIONS, seeds).tokens
        return draw_captions(captioner, start, OPTIONS, seeds), wanted

    drawn, wanted = (tokens.numpy().tolist() for tokens in draw(begin(captioner, images)))
    # The search sorts an image's captions by score.
    assert [sorted(group) for group in drawn] == [sorted(group) for group in wanted]
    lengths = np.count_nonzero(drawn, axis=-1)
    assert images == 1 or lengths.min() < 4 and lengths.max() == OPTIONS.num_tokens


@pytest.mark.parametrize(("decoder", "images"), CASES)
def test_equals_one_pass_over_all_places(decoder: str, images: int) -> None:
    captioner = make(decoder)
    weights = [variable.value for variable in captioner.decoder.trainable_variables]
    gains = tf.constant(np.random.default_rng(3).normal(size=[images, SAMPLES]), tf.float32)

    def plain(start: Start, sampled: tf.Tensor) -> tf.Tensor:
        words = tf.reshape(sampled, [-1, OPTIONS.num_tokens])
        read = tf.concat([tf.fill([images * SAMPLES, 1], START), words[:, :-1]], axis=1)
        forced = captioner.decoder.teacher_forcing(read, repeat_rows(start, SAMPLES))
        suppressed = tf.reduce_sum(tf.one_hot(OPTIONS.suppress, VOCABULARY), axis=0)
        log_probs = tf.nn.log_softmax(forced.logits / 0.6 - 1e9 * suppressed)
        chosen = tf.gather(log_probs, words, batch_dims=2)
        free = (words != PAD) & (tf.range(OPTIONS.num_tokens) < MAX_LENGTH)
        return tf.reshape(tf.reduce_sum(tf.where(free, chosen, 0.0), axis=1), [-1, SAMPLES])

    def grouped(start: Start, sampled: tf.Tensor) -> tf.Tensor:
        return policy_log_probs(captioner, CONFIG, OPTIONS, start, sampled)

    rng = np.random.default_rng(4)
    sampled = np.full([images, SAMPLES, OPTIONS.num_tokens], PAD, np.int32)
    for caption in sampled.reshape(-1, OPTIONS.num_tokens):
        length = rng.integers(0, MAX_LENGTH + 1)
        caption[: length + 1] = [*rng.integers(4, VOCABULARY, size=length), END]

    @tf.function(autograph=False)
    def both() -> list:
        with tf.GradientTape(persistent=True) as tape:
            start = begin(captioner, images)
            found = [formula(start, tf.constant(sampled)) for formula in (plain, grouped)]
            totals = [tf.reduce_sum(gains * log_probs) for log_probs in found]
        gradients = [tape.gradient(total, weights) for total in totals]
        return [
            [log_probs, *map(tf.convert_to_tensor, slopes)]
            for log_probs, slopes in zip(found, gradients, strict=True)
        ]

    for wanted, got in zip(*both(), strict=True):
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5 * scale)
        assert scale > 0
