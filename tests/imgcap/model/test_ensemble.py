"""Decoders side by side: by numpy, by the enumeration of all captions, and as a graph."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from imgcap.config import DecodeConfig, ModelConfig
from imgcap.model.decoders import Decoder, Ensemble, make_decoder
from imgcap.model.decoders.ensemble import LOG, PROBABILITY
from imgcap.model.rows import repeat_rows
from imgcap.model.search import Captions, beam

VOCABULARY, POSITIONS, CHANNELS, IMAGES, WORDS = 7, 4, 5, 3, 4
WEIGHTS = (0.3, 0.7)
OPTIONS = DecodeConfig(beam_width=3, max_length=3, suppress=(0, 1))


def make(name: str, seed: int, positions: int = POSITIONS) -> Decoder:
    sizes = {"units": 6, "embedding_dim": 4, "attention_units": 3}
    made = make_decoder(ModelConfig(decoder=name, **sizes), VOCABULARY, (positions, CHANNELS))
    rng = np.random.default_rng(seed)
    made.set_weights([rng.normal(size=weight.shape) for weight in made.get_weights()])
    return made


@pytest.fixture(scope="module")
def members() -> list[Decoder]:
    return [make("attention", 0), make("adaptive", 1)]


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    shape = [IMAGES, POSITIONS, CHANNELS]
    return np.random.default_rng(2).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def tokens() -> np.ndarray:
    return np.random.default_rng(3).integers(1, VOCABULARY, [IMAGES, WORDS]).astype(np.int32)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = np.asarray(logits, np.float64)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def combined(log_probs: list[np.ndarray], mean_of: str) -> np.ndarray:
    values = log_probs if mean_of == LOG else [np.exp(each) for each in log_probs]
    mean = sum(weight * value for weight, value in zip(WEIGHTS, values, strict=True))
    return mean if mean_of == LOG else np.log(mean)


@pytest.mark.parametrize("mean_of", [LOG, PROBABILITY])
def test_each_word_is_the_mean_of_the_members(
    mean_of: str, members: list[Decoder], features: np.ndarray, tokens: np.ndarray
) -> None:
    ensemble = Ensemble(members, WEIGHTS, mean_of)
    forced = [member.teacher_forcing(tokens, member.begin(features)) for member in members]
    wanted = combined([log_softmax(each.logits) for each in forced], mean_of)
    start = ensemble.begin(features)
    found = ensemble.teacher_forcing(tokens, start)
    np.testing.assert_allclose(found.logits, wanted, atol=1e-5)
    attention = sum(
        weight * each.attention_weights.numpy()
        for weight, each in zip(WEIGHTS, forced, strict=True)
    )
    np.testing.assert_allclose(found.attention_weights, attention, atol=1e-6)
    np.testing.assert_allclose(ensemble.attention_weights(tokens, start), attention, atol=1e-6)
    state = start.state
    for word in range(WORDS):
        logits, state = ensemble.step(tokens[:, word], start.memory, state)
        np.testing.assert_allclose(logits, wanted[:, word], atol=1e-5)


def search(decoder: Decoder | Ensemble, features: np.ndarray, options: DecodeConfig) -> Captions:
    start = decoder.begin(features)
    memory = repeat_rows(start.memory, options.beam_width)
    return beam(lambda tokens, state: decoder.step(tokens, memory, state), start.state, options)


@pytest.mark.parametrize(
    ("name", "positions", "mean_of"),
    [("inject_and_merge", 1, LOG), ("attention", POSITIONS, PROBABILITY)],
)
def test_one_member_and_twice_the_same_say_what_it_says(
    name: str, positions: int, mean_of: str, features: np.ndarray
) -> None:
    member = make(name, 4, positions)
    given = features[:, :positions]
    alone = search(member, given, OPTIONS)
    for ensemble in (
        Ensemble([member], [1.0], mean_of),
        Ensemble([member, member], WEIGHTS, mean_of),
    ):
        assert ensemble.pooled == member.pooled
        found = search(ensemble, given, OPTIONS)
        np.testing.assert_array_equal(found.tokens, alone.tokens)
        np.testing.assert_allclose(found.scores, alone.scores, rtol=1e-5)


@pytest.mark.parametrize("mean_of", [LOG, PROBABILITY])
def test_a_beam_of_full_width_finds_what_enumeration_finds(
    mean_of: str, members: list[Decoder], features: np.ndarray
) -> None:
    """All captions of at most two words, each scored by each member's teacher forcing."""
    options = DecodeConfig(beam_width=21, max_length=2, suppress=(0, 1), length_penalty=0.7)
    image, scores = features[:1], {}
    for length in range(3):
        words = itertools.product(range(3, VOCABULARY), repeat=length)
        captions = np.array([(*each, options.end_token) for each in words], np.int32)
        read = np.insert(captions[:, :-1], 0, options.start_token, axis=1)
        forced = [
            member.teacher_forcing(read, member.begin(np.repeat(image, len(read), axis=0)))
            for member in members
        ]
        log_probs = log_softmax(combined([log_softmax(each.logits) for each in forced], mean_of))
        each = np.take_along_axis(log_probs, captions[:, :, None], axis=2)[:, :, 0].sum(axis=1)
        values = each / ((5 + length + 1) / 6) ** 0.7
        scores |= dict(zip(map(tuple, captions.tolist()), values, strict=True))
    best = sorted(scores, key=scores.__getitem__)[::-1]
    found = search(Ensemble(members, WEIGHTS, mean_of), image, options)
    assert [tuple(row[row > 0].tolist()) for row in found.tokens.numpy()[0]] == best
    np.testing.assert_allclose(found.scores[0], [scores[each] for each in best], rtol=1e-5)


def ancestors(operation: tf.Operation) -> set[tf.Operation]:
    """An operation with all that must run before it."""
    found, waiting = set(), [operation]
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting += [*(tensor.op for tensor in each.inputs), *each.control_inputs]
    return found


def test_no_member_waits_for_another_within_a_step(
    members: list[Decoder], features: np.ndarray
) -> None:
    """So TensorFlow's executor can run them in parallel."""
    ensemble = Ensemble(members, WEIGHTS, LOG)
    start = ensemble.begin(features)
    graph = (
        tf.function(ensemble.step, autograph=False)
        .get_concrete_function(tf.zeros([IMAGES], tf.int32), start.memory, start.state)
        .graph
    )
    given = (tf.zeros([]), start.memory, start.state)
    count = len(tf.nest.flatten(given))
    _, memory, state = tf.nest.pack_sequence_as(given, graph.inputs[:count])
    predictions = [each for each in graph.get_operations() if each.type == "LogSoftmax"]
    assert len(predictions) == len(members)
    reads, computes = [], []
    for number, member in enumerate(members):
        handles = {id(weight.value.handle) for weight in member.variables}
        weights = {inside.op for outside, inside in graph.captures if id(outside) in handles}
        assert weights
        parts = tf.nest.flatten((memory[number], state[number]))
        reads.append(weights | {each.op for each in parts})
        # What a function returns waits for all of it; what stands before that does not.
        returned = tf.nest.flatten(graph.structured_outputs[1][number])
        ends = [each.op.inputs[0].op for each in returned]
        computes.append(set().union(*map(ancestors, [predictions[number], *ends])))
    for number in range(len(members)):
        assert reads[number] <= computes[number]
        assert not reads[1 - number] & computes[number]
