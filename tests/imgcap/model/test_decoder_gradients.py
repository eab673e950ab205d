"""The loop's own gradient against TensorFlow's of the same steps, one written after the other."""

import numpy as np
import pytest
import tensorflow as tf

from imgcap.config import ModelConfig
from imgcap.model.decoders import Decoder, base, make_decoder
from imgcap.model.decoders.loop import Advance, Constants, State
from imgcap.model.precision import dtype_policy

VOCABULARY, CHANNELS, IMAGES, WORDS = 11, 6, 4, 5
POSITIONS = {"pre_inject": 1, "par_inject": 1, "inject_and_merge": 1, "attention": 9, "adaptive": 9}
PLAIN = {"dropout": 0.0}
MASKED = {"dropout": 0.3, "recurrent_dropout": 0.4, "context_gate": False, "tie_weights": True}


def make(name: str, **settings: object) -> Decoder:
    config = ModelConfig(decoder=name, units=7, embedding_dim=5, attention_units=3, **settings)
    made = make_decoder(config, VOCABULARY, (POSITIONS[name], CHANNELS))
    rng = np.random.default_rng(0)
    made.set_weights([rng.normal(size=weight.shape, scale=0.5) for weight in made.get_weights()])
    return made


def written_out(
    advance: Advance,
    inputs: tf.Tensor,
    state: State,
    constants: Constants,
    widths: tuple[int, ...],
) -> tuple[tf.Tensor, ...]:
    """Takes the steps in Python, so that the gradient is TensorFlow's alone."""
    steps = []
    for place in range(inputs.shape[1]):
        outputs, state = advance(inputs[:, place], state, constants.multiply, constants.tensors)
        steps.append(outputs)
    assert [output.shape[1] for output in steps[0]] == list(widths)
    return tuple(tf.stack(outputs, axis=1) for outputs in zip(*steps, strict=True))


def gradients(decoder: Decoder, words: int = WORDS) -> list[np.ndarray]:
    """By features and weights, of all numbers that teacher forcing returns."""
    rng = np.random.default_rng(1)
    shape = [IMAGES, POSITIONS[decoder.name], CHANNELS]
    features = tf.constant(rng.normal(size=shape), tf.float32)
    tokens = tf.constant(rng.integers(1, VOCABULARY, size=[IMAGES, words]), tf.int32)
    seed = tf.constant([3, 4])
    with tf.GradientTape() as tape:
        tape.watch(features)
        forced = decoder.teacher_forcing(tokens, decoder.begin(features, seed), seed)
        total = sum(
            tf.reduce_sum(part * rng.normal(size=part.shape).astype(np.float32)) for part in forced
        )
    weights = [weight.value for weight in decoder.trainable_weights]
    found = tape.gradient(total, [features, *weights])
    assert all(part is not None for part in found)
    return [tf.convert_to_tensor(part).numpy() for part in found]


@pytest.mark.parametrize("settings", [PLAIN, MASKED], ids=["plain", "masked"])
@pytest.mark.parametrize("name", POSITIONS)
def test_gradients_are_those_of_the_steps_written_out(
    name: str, settings: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = make(name, **settings)
    found = gradients(decoder)
    monkeypatch.setattr(base, "unroll_with_gradient", written_out)
    expected = gradients(decoder)
    assert max(np.abs(part).max() for part in expected) > 1
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_gradients_of_one_word(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = make("attention", **PLAIN)
    found = gradients(decoder, words=1)
    monkeypatch.setattr(base, "unroll_with_gradient", written_out)
    for one, other in zip(found, gradients(decoder, words=1), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["attention", "adaptive"])
def test_gradients_in_bfloat16(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with dtype_policy("mixed_bfloat16"):
        decoder = make(name, **PLAIN)
    found = gradients(decoder)
    monkeypatch.setattr(base, "unroll_with_gradient", written_out)
    for one, other in zip(found, gradients(decoder), strict=True):
        # A sum over words is rounded once on one road, and at each word on the other.
        assert one.dtype == np.float32
        assert np.linalg.norm(one - other) < 0.02 * np.linalg.norm(other)
