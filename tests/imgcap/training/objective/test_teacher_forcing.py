"""What is mixed into the cost of teacher forcing, each alone."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from imgcap.config import Config, ModelConfig, TrainConfig
from imgcap.data.text.vocabulary import END, PAD, START, UNK
from imgcap.errors import ConfigError
from imgcap.model.decoders import make_decoder
from imgcap.training.objective import teacher_forcing
from imgcap.training.objective.losses import cross_entropy, doubly_stochastic

VOCABULARY, POSITIONS, CHANNELS = 30, 4, 6
MODEL = ModelConfig(decoder="attention", units=7, embedding_dim=5, attention_units=3, dropout=0.0)
PLAIN = TrainConfig(data_dir="data", workdir="run")
SEED = tf.constant([3, 4])


@pytest.fixture
def captioner() -> SimpleNamespace:
    tf.keras.utils.set_random_seed(0)
    return SimpleNamespace(decoder=make_decoder(MODEL, VOCABULARY, (POSITIONS, CHANNELS)))


@pytest.fixture
def features() -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).normal(size=[2, POSITIONS, CHANNELS]), tf.float32)


@pytest.fixture
def tokens() -> tf.Tensor:
    rows = [
        [[START, 5, 6, 7, END], [START, 8, END, PAD, PAD]],
        [[START, 9, 9, END, PAD], [PAD] * 5],
    ]
    return tf.constant(rows)


def loss(
    captioner: SimpleNamespace,
    features: tf.Tensor,
    tokens: tf.Tensor,
    progress: float = 0.0,
    **settings: float,
):
    config = dataclasses.replace(PLAIN, **settings)
    return teacher_forcing.caption_loss(captioner, config, features, tokens, SEED, progress)


def test_captions_of_an_image_share_its_features(captioner, features, tokens) -> None:
    together = loss(captioner, features, tokens)
    alone = [
        loss(
            captioner, features[image : image + 1], tokens[image : image + 1, caption : caption + 1]
        )
        for image in range(2)
        for caption in range(2)
    ]
    np.testing.assert_allclose(together.total, sum(one.total for one in alone), rtol=1e-5)
    assert together.tokens == sum(one.tokens for one in alone) == 9


def read_words(captioner, features, tokens, progress: float = 0.0, **settings: float) -> np.ndarray:
    """The words that the decoder was given."""
    seen = []
    original = captioner.decoder.teacher_forcing

    def watch(read, start, seed=None):
        seen.append(read.numpy())
        return original(read, start, seed)

    captioner.decoder.teacher_forcing = watch
    loss(captioner, features, tokens, progress, **settings)
    return seen[-1]


def test_word_dropout_reads_unknown_words(captioner) -> None:
    features = tf.zeros([200, POSITIONS, CHANNELS])
    tokens = tf.constant([[[START, 5, 6, 7, END, PAD]]] * 200)
    read = read_words(captioner, features, tokens, word_dropout=0.25)
    assert (read[:, 0] == START).all()
    replaced = read[:, 1:5] == UNK
    assert 0.2 < replaced.mean() < 0.3
    np.testing.assert_array_equal(
        read[:, 1:5][~replaced], np.array([[5, 6, 7, END]] * 200)[~replaced]
    )


def test_scheduled_sampling_reads_the_models_own_words(captioner) -> None:
    # A model that is sure of one word everywhere.
    weights = captioner.decoder.to_logits.get_weights()
    captioner.decoder.to_logits.set_weights([0 * weights[0], np.eye(VOCABULARY)[17] * 50])
    features, tokens = (
        tf.zeros([200, POSITIONS, CHANNELS]),
        tf.constant([[[START, 5, 6, 7, END]]] * 200),
    )
    assert not (read_words(captioner, features, tokens, 0.0, scheduled_sampling=0.5) == 17).any()
    late = read_words(captioner, features, tokens, 1.0, scheduled_sampling=0.5)
    assert (late[:, 0] == START).all() and 0.45 < (late[:, 1:] == 17).mean() < 0.55
    early = read_words(captioner, features, tokens, 0.5, scheduled_sampling=0.5)
    assert 0.2 < (early[:, 1:] == 17).mean() < 0.3


def test_sampled_words_follow_the_models_distribution(captioner) -> None:
    kernel, _ = captioner.decoder.to_logits.get_weights()
    bias = np.full(VOCABULARY, -50.0)
    bias[[10, 11]] = np.log([0.8, 0.2])
    captioner.decoder.to_logits.set_weights([0 * kernel, bias])
    features, read = tf.zeros([2000, POSITIONS, CHANNELS]), tf.constant([[START, 5]] * 2000)
    words = teacher_forcing._sample_words(
        captioner, read, captioner.decoder.begin(features), SEED
    ).numpy()
    assert (words[:, 0] == START).all() and set(words[:, 1]) == {10, 11}
    assert (words[:, 1] == 10).mean() == pytest.approx(0.8, abs=0.03)


def test_doubly_stochastic_by_hand() -> None:
    attention = tf.constant(
        [[[0.5, 0.5], [1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]]
    )
    targets = tf.constant([[5, 6, PAD], [PAD, PAD, PAD]])
    # Position 0 was seen 1.5 times, position 1 half a time; the caption of padding costs nothing.
    np.testing.assert_allclose(doubly_stochastic(attention, targets), 0.25 + 0.25)


def test_regulariser_is_added_to_the_cost(captioner, features, tokens) -> None:
    flat = tf.reshape(tokens, [4, 5])
    start = tf.nest.map_structure(
        lambda part: tf.repeat(part, 2, axis=0), captioner.decoder.begin(features)
    )
    forced = captioner.decoder.teacher_forcing(flat[:, :-1], start)
    wanted = cross_entropy(forced.logits, flat[:, 1:]).total + 0.7 * doubly_stochastic(
        forced.attention_weights, flat[:, 1:]
    )
    np.testing.assert_allclose(
        loss(captioner, features, tokens, attention_regulariser=0.7).total, wanted, rtol=1e-5
    )


def test_regulariser_needs_attention() -> None:
    train = dataclasses.replace(PLAIN, attention_regulariser=1.0)
    with pytest.raises(
        ConfigError, match="needs a decoder that attends .* not --decoder=pre_inject"
    ):
        Config(ModelConfig(), train)
    Config(MODEL, train)
