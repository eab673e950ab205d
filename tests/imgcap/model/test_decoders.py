"""The decoders against the papers' equations in numpy, and teacher forcing against the unrolled
steps.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from imgcap.config import ModelConfig
from imgcap.model.decoders import Decoder, make_decoder
from imgcap.model.decoders.base import WORDS as WORDS_PLACE
from imgcap.training.objective import losses

VOCABULARY, CHANNELS, IMAGES, WORDS = 11, 6, 4, 5
GRID = {"pre_inject": 1, "par_inject": 1, "inject_and_merge": 1, "attention": 9, "adaptive": 9}


def make(name: str, **settings: object) -> Decoder:
    config = ModelConfig(
        decoder=name, units=7, embedding_dim=5, attention_units=3, **{"dropout": 0.5, **settings}
    )
    made = make_decoder(config, VOCABULARY, (GRID[name], CHANNELS))
    rng = np.random.default_rng(0)
    # Zero biases would hide a forgotten one.
    made.set_weights([rng.normal(size=weight.shape, scale=0.5) for weight in made.get_weights()])
    return made


@pytest.fixture(params=GRID)
def decoder(request: pytest.FixtureRequest) -> Decoder:
    return make(request.param)


@pytest.fixture
def features(decoder: Decoder) -> np.ndarray:
    return (
        np.random.default_rng(1)
        .normal(size=[IMAGES, GRID[decoder.name], CHANNELS])
        .astype(np.float32)
    )


@pytest.fixture
def tokens() -> np.ndarray:
    return np.random.default_rng(2).integers(1, VOCABULARY, size=[IMAGES, WORDS]).astype(np.int32)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


class Naive:
    """The papers' equations, one image and one word at a time, in numpy float64."""

    def __init__(self, decoder: Decoder) -> None:
        self.name, self.decoder = decoder.name, decoder
        self.table = decoder.embedding.get_weights()[0].astype(float)

    def dense(self, layer: str, x: np.ndarray) -> np.ndarray:
        kernel, *bias = getattr(self.decoder, layer).get_weights()
        return x @ kernel.astype(float) + (bias[0] if bias else 0.0)

    def cell(
        self, gates: np.ndarray, h: np.ndarray, c: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        recurrent = self.decoder.lstm.recurrent.get_weights()[0].astype(float)
        i, f, g, o = np.split(gates + h @ recurrent, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c

    def gates(self, x: np.ndarray) -> np.ndarray:
        kernel, bias = self.decoder.lstm.inputs.get_weights()
        return x @ kernel.astype(float) + bias

    def look(self, keys: list[np.ndarray], query: np.ndarray) -> np.ndarray:
        """Shares of keys, by equation (6) of Lu et al. and (4), (5) of Xu et al."""
        asked = query @ self.decoder.score.query.get_weights()[0].astype(float)
        weigh = self.decoder.score.energy.get_weights()[0].astype(float)[:, 0]
        scores = np.exp([np.tanh(key + asked) @ weigh for key in keys])
        return scores / scores.sum()

    def caption(self, grid: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Outputs [T, D] and attention [T, L]."""
        h = c = np.zeros(self.decoder.lstm.units)
        mean = grid.mean(axis=0)
        if self.name == "pre_inject":
            h, c = self.cell(self.gates(self.dense("image", mean)), h, c)
        if self.name in ("attention", "inject_and_merge"):
            h, c = np.split(np.tanh(self.dense("initial_state", mean)), 2)
        outputs, shares = [], []
        for token in tokens:
            output, share, h, c = getattr(self, self.name)(self.table[token], grid, mean, h, c)
            outputs.append(output)
            shares.append(share)
        return np.array(outputs), np.array(shares)

    def pre_inject(self, word, grid, mean, h, c):
        h, c = self.cell(self.gates(word), h, c)
        return h, [], h, c

    def par_inject(self, word, grid, mean, h, c):
        h, c = self.cell(self.gates(np.concatenate([word, self.dense("image", mean)])), h, c)
        return h, [], h, c

    def inject_and_merge(self, word, grid, mean, h, c):
        output, share, h, c = self.par_inject(word, grid, mean, h, c)
        return output + self.dense("image_to_output", self.dense("image", mean)), share, h, c

    def attention(self, word, grid, mean, h, c):
        values = [self.dense("values", position) for position in grid]
        share = self.look([self.dense("keys", value) for value in values], h)
        seen = sum(weight * value for weight, value in zip(share, values, strict=True))
        seen = sigmoid(self.dense("gate", h)) * seen
        h, c = self.cell(self.gates(word) + self.dense("context_to_gates", seen), h, c)
        return h + self.dense("context_to_output", seen), share, h, c

    def adaptive(self, word, grid, mean, h, c):
        values = [np.maximum(self.dense("values", position), 0) for position in grid]
        inputs = np.concatenate([word, np.maximum(self.dense("global_image", mean), 0)])
        gate = sigmoid(self.dense("sentinel_inputs", inputs) + self.dense("sentinel_recurrent", h))
        h, c = self.cell(self.gates(inputs), h, c)
        sentinel = gate * np.tanh(c)
        keys = [
            *(self.dense("keys", value) for value in values),
            self.dense("sentinel_key", sentinel),
        ]
        share = self.look(keys, h)
        seen = sum(weight * value for weight, value in zip(share, [*values, sentinel], strict=True))
        return h + seen, share[:-1], h, c


def test_teacher_forcing_follows_the_equations(
    decoder: Decoder, features: np.ndarray, tokens: np.ndarray
) -> None:
    forced, naive = decoder.teacher_forcing(tokens, decoder.begin(features)), Naive(decoder)
    assert forced.logits.dtype == tf.float32
    for row in range(IMAGES):
        outputs, attention = naive.caption(features[row].astype(float), tokens[row])
        np.testing.assert_allclose(forced.logits[row], naive.dense("to_logits", outputs), atol=1e-5)
        np.testing.assert_allclose(forced.attention_weights[row], attention, atol=1e-5)


def test_steps_equal_teacher_forcing(
    decoder: Decoder, features: np.ndarray, tokens: np.ndarray
) -> None:
    start = decoder.begin(features)
    forced, state = decoder.teacher_forcing(tokens, start).logits, start.state
    for place in range(WORDS):
        logits, state = decoder.step(tf.constant(tokens[:, place]), start.memory, state)
        np.testing.assert_allclose(logits, forced[:, place], atol=1e-5)


@pytest.mark.parametrize("decoder", ["attention", "adaptive"], indirect=True)
def test_attention_is_shared_out(
    decoder: Decoder, features: np.ndarray, tokens: np.ndarray
) -> None:
    attention = decoder.attention_weights(tokens, decoder.begin(features)).numpy()
    whole = attention.sum(axis=-1)
    assert attention.shape == (IMAGES, WORDS, GRID[decoder.name]) and attention.min() > 0
    if decoder.name == "attention":
        np.testing.assert_allclose(whole, 1.0, atol=1e-6)
    else:
        assert whole.max() < 1.0  # the sentinel has the rest


def test_the_gate_on_the_context_can_be_left_out() -> None:
    features = np.random.default_rng(1).normal(size=[1, 9, CHANNELS]).astype(np.float32)
    tokens = tf.constant([[1, 4, 6]])
    gated, bare = make("attention"), make("attention", context_gate=False)
    names = {weight.path for weight in gated.weights} - {weight.path for weight in bare.weights}
    assert names == {"gate/kernel", "gate/bias"}
    kept = {weight.path: weight.numpy() for weight in gated.weights}
    bare.set_weights([kept[weight.path] for weight in bare.weights])
    gate_kernel, gate_bias = gated.gate.get_weights()
    # A gate that is wide open is none.
    gated.gate.set_weights([0 * gate_kernel, gate_bias * 0 + 100])
    logits = [one.teacher_forcing(tokens, one.begin(features)).logits for one in (gated, bare)]
    np.testing.assert_allclose(*logits, atol=1e-5)


def test_tied_weights_make_the_logits_with_the_embedding() -> None:
    decoder = make("pre_inject", tie_weights=True)
    features = np.random.default_rng(1).normal(size=[IMAGES, 1, CHANNELS]).astype(np.float32)
    tokens = np.array([[1, 4, 6]] * IMAGES, np.int32)
    naive, forced = Naive(decoder), decoder.teacher_forcing(tokens, decoder.begin(features)).logits
    outputs, _ = naive.caption(features[0].astype(float), tokens[0])
    wanted = naive.dense("to_embedding", outputs) @ naive.table.T + decoder.bias.numpy()
    np.testing.assert_allclose(forced[0], wanted, atol=1e-5)
    assert sum(weight.shape == (VOCABULARY, 5) for weight in decoder.weights) == 1


def test_dropout_is_a_function_of_its_seed(
    decoder: Decoder, features: np.ndarray, tokens: np.ndarray
) -> None:
    def logits(seed: list[int] | None) -> np.ndarray:
        seed = None if seed is None else tf.constant(seed)
        return decoder.teacher_forcing(tokens, decoder.begin(features, seed), seed).logits.numpy()

    np.testing.assert_array_equal(logits([0, 1]), logits([0, 1]))
    assert np.abs(logits([0, 1]) - logits([0, 2])).max() > 0.01
    assert np.abs(logits([0, 1]) - logits(None)).max() > 0.01


def test_variational_masks_hold_for_a_whole_caption() -> None:
    seed, ones = tf.constant([0, 1]), tf.ones([200, 8, 5])
    each = make("pre_inject")._dropout(ones, seed, WORDS_PLACE).numpy()
    one = make("pre_inject", variational_dropout=True)._dropout(ones, seed, WORDS_PLACE).numpy()
    assert (one == one[:, :1]).all() and not (each == each[:, :1]).all()
    for values in (each, one):
        assert set(np.unique(values)) == {0.0, 2.0} and 0.4 < values.mean() / 2 < 0.6


def test_recurrent_dropout_hits_training_alone() -> None:
    features, tokens = np.ones([1, 1, CHANNELS], np.float32), np.array([[1, 4, 6]], np.int32)
    decoder = make("pre_inject", dropout=0.0, recurrent_dropout=0.5)

    def logits(seed: tf.Tensor | None) -> np.ndarray:
        return decoder.teacher_forcing(tokens, decoder.begin(features), seed).logits.numpy()

    assert np.abs(logits(tf.constant([0, 1])) - logits(None)).max() > 0.01
    plain = make("pre_inject", dropout=0.0)
    start = plain.begin(features)
    np.testing.assert_array_equal(logits(None), plain.teacher_forcing(tokens, start).logits)


def test_bfloat16_keeps_state_and_logits_in_float32(decoder: Decoder) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        low = make(decoder.name, dropout=0.0)
    finally:
        keras.config.set_dtype_policy(before)
    high = make(decoder.name, dropout=0.0)
    features = (
        np.random.default_rng(1)
        .normal(size=[IMAGES, GRID[decoder.name], CHANNELS])
        .astype(np.float32)
    )
    tokens = np.array([[1, 4, 6]] * IMAGES, np.int32)
    starts = [one.begin(features) for one in (low, high)]
    assert {part.dtype for part in starts[0].state} == {tf.float32}
    forced = [
        one.teacher_forcing(tokens, start).logits
        for one, start in zip((low, high), starts, strict=True)
    ]
    assert forced[0].dtype == tf.float32
    np.testing.assert_allclose(*forced, atol=0.3)


def test_cross_entropy_by_hand() -> None:
    logits = np.log([[[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]]]).astype(np.float32)
    cost = losses.cross_entropy(tf.constant(logits), tf.constant([[1, 2]]))
    np.testing.assert_allclose(cost.total, -np.log(0.5) - np.log(0.8), rtol=1e-6)
    assert cost.tokens == 2
    padded = losses.cross_entropy(tf.constant(logits), tf.constant([[1, 0]]))
    np.testing.assert_allclose(padded.total, -np.log(0.5), rtol=1e-6)
    assert padded.tokens == 1


def test_label_smoothing_against_full_targets() -> None:
    rng = np.random.default_rng(0)
    logits, targets = (
        rng.normal(size=[2, 3, 5]).astype(np.float32),
        np.array([[1, 4, 0], [2, 2, 3]]),
    )
    log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    wanted = 0.9 * np.eye(5)[targets] + 0.1 / 5
    expected = -(wanted * log_probs).sum(axis=-1)[targets != 0].sum()
    cost = losses.cross_entropy(tf.constant(logits), tf.constant(targets), label_smoothing=0.1)
    np.testing.assert_allclose(cost.total, expected, rtol=1e-5)
