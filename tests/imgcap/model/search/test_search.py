"""Search on toy tables: against enumeration, against a plain beam search in Python, and worked by
hand.
"""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from imgcap.config import DecodeConfig
from imgcap.errors import ConfigError
from imgcap.model.search import Captions, beam, diverse, greedy, sample
from tests.support.toy_search import (
    END,
    Search,
    Toy,
    check_row,
    check_same,
    is_legal,
    norm,
    run,
    strip,
)

RULES = [
    {"length_penalty": 0.0},
    {"length_penalty": 0.7},
    {"length_penalty": 1.5},
    {"length_normalisation": "mean"},
    {"length_normalisation": "none"},
    {"min_length": 2},
    {"min_length": 3, "length_normalisation": "mean"},
    {"block_ngrams": 1},
    {"block_ngrams": 2, "length_penalty": 1.5},
    {"block_ngrams": 3, "length_normalisation": "mean"},
    {"block_ngrams": 1, "min_length": 2, "length_normalisation": "none"},
    {"suppress": (0, 1, 3, 5)},
]
EACH_SEARCH = pytest.mark.parametrize(
    ("search", "options"),
    [
        (greedy, DecodeConfig(max_length=8, block_ngrams=2, min_length=1)),
        (beam, DecodeConfig(max_length=8, block_ngrams=2, min_length=1, beam_width=3)),
        (
            sample,
            DecodeConfig(
                max_length=8,
                block_ngrams=2,
                min_length=1,
                num_samples=3,
                top_p=0.9,
                sampling_seed=4,
            ),
        ),
        (
            diverse,
            DecodeConfig(max_length=8, block_ngrams=2, min_length=1, beam_width=3, diversity=1.5),
        ),
    ],
    ids=["greedy", "beam", "sample", "diverse"],
)


def enumerate_captions(
    toy: Toy, row: int, options: DecodeConfig
) -> list[tuple[float, tuple[int, ...]]]:
    """Every legal caption with its score, best first."""
    found = []
    words = [token for token in range(toy.logits.shape[-1]) if token != END]
    for length in range(options.max_length + 1):
        for candidate in itertools.product(words, repeat=length):
            tokens = (*candidate, END)
            if all(is_legal(tokens[:i], token, options) for i, token in enumerate(tokens)):
                found.append(
                    (sum(toy.token_log_probs(row, tokens)) / norm(len(tokens), options), tokens)
                )
    return sorted(found, reverse=True)


def search_in_python(
    toy: Toy, row: int, options: DecodeConfig
) -> list[tuple[float, tuple[int, ...]]]:
    """Beam search with lists, to the last position, without a bound."""
    still_open, finished = [(0.0, ())], []
    for _ in range(options.num_tokens):
        candidates = [
            (total + log_prob, (*words, token))
            for total, words in still_open
            for token, log_prob in enumerate(toy.log_probs(row, words))
            if is_legal(words, token, options)
        ]
        kept = sorted(candidates, reverse=True)[: options.beam_width]
        for total, tokens in kept:
            if tokens[-1] == END:
                finished.append((total / norm(len(tokens), options), tokens))
        still_open = [(total, tokens) for total, tokens in kept if tokens[-1] != END]
    return sorted(finished, reverse=True)[: options.beam_width]


@pytest.mark.parametrize("rules", RULES, ids=str)
def test_full_width_is_exhaustive(rules: dict) -> None:
    toy = Toy(rows=2, positions=4, vocabulary_size=7)
    options = DecodeConfig(beam_width=45, max_length=3, **rules)
    captions = run(beam, toy, [0, 1], options)
    for row in (0, 1):
        expected = enumerate_captions(toy, row, options)
        assert 3 <= len(expected) <= 40
        check_row(captions, row, expected)


@pytest.mark.parametrize(
    "rules", [*RULES, {"suppress": ()}, {"suppress": (), "block_ngrams": 2}], ids=str
)
def test_any_width_is_the_plain_search(rules: dict) -> None:
    toy = Toy(rows=3, positions=7, vocabulary_size=9, seed=1)
    for width in (2, 4):
        options = DecodeConfig(beam_width=width, max_length=6, **rules)
        captions = run(beam, toy, [0, 1, 2], options)
        for row in range(3):
            check_row(captions, row, search_in_python(toy, row, options))


@pytest.mark.parametrize("rules", RULES, ids=str)
def test_width_1_is_greedy(rules: dict) -> None:
    toy = Toy(rows=8, positions=7, vocabulary_size=9, seed=2)
    options = DecodeConfig(beam_width=1, max_length=6, **rules)
    rows = list(range(8))
    one_beam, walked = run(beam, toy, rows, options), run(greedy, toy, rows, options)
    for from_beam, from_greedy in zip(one_beam, walked, strict=True):
        np.testing.assert_array_equal(from_beam, from_greedy)
    for row in rows:
        check_row(walked, row, search_in_python(toy, row, options))
    assert len(set(walked.lengths[:, 0].tolist())) > 1 or options.min_length


@EACH_SEARCH
def test_scores_agree_with_teacher_forcing(search: Search, options: DecodeConfig) -> None:
    toy = Toy(rows=5, positions=9, vocabulary_size=17, seed=3)
    captions = run(search, toy, list(range(5)), options)
    for row, place in np.ndindex(captions.scores.shape):
        tokens = strip(captions.tokens[row, place])
        length = len(tokens)
        assert length == captions.lengths[row, place] > 1
        rescored = toy.token_log_probs(row, tokens)
        np.testing.assert_allclose(
            captions.token_log_probs[row, place, :length], rescored, atol=1e-5
        )
        np.testing.assert_allclose(captions.log_probs[row, place], sum(rescored), atol=1e-4)
        score = sum(rescored) / norm(length, options)
        np.testing.assert_allclose(captions.scores[row, place], score, atol=1e-4)
        assert not captions.tokens[row, place, length:].any()
        assert not captions.token_log_probs[row, place, length:].any()
    assert np.all(np.diff(captions.scores, axis=1) <= 0)


@EACH_SEARCH
def test_a_batch_gives_what_its_rows_give_alone(search: Search, options: DecodeConfig) -> None:
    toy = Toy(rows=5, positions=9, vocabulary_size=17, seed=5)
    order = [3, 0, 4, 1, 2]
    batch, permuted = run(search, toy, list(range(5)), options), run(search, toy, order, options)
    check_same(Captions(*(field[order] for field in batch)), permuted)
    for row in (0, 3):
        check_same(
            Captions(*(field[row : row + 1] for field in batch)), run(search, toy, [row], options)
        )
    assert len(np.unique(batch.tokens[:, 0], axis=0)) > 1


@EACH_SEARCH
def test_eager_compiled_and_reloaded_agree(
    search: Search, options: DecodeConfig, tmp_path: Path
) -> None:
    toy = Toy(rows=3, positions=9, vocabulary_size=17, seed=6)
    rows = tf.TensorSpec([None], tf.int32)

    class Module(tf.Module):
        @tf.function(input_signature=[rows, rows, rows])
        def decode(self, row: tf.Tensor, position: tf.Tensor, before: tf.Tensor) -> Captions:
            return search(toy.step, {"row": row, "position": position, "before": before}, options)

    module, state = Module(), toy.state([2, 0, 1])
    tf.saved_model.save(module, str(tmp_path))
    reloaded = tf.saved_model.load(str(tmp_path)).decode(**state)
    eager, compiled = search(toy.step, state, options), module.decode(**state)
    check_same(eager, compiled)
    check_same(eager, reloaded)
    assert (np.asarray(eager.lengths) > 1).all()
    width = eager.scores.shape[1]
    static = module.decode.get_concrete_function().structured_outputs
    assert static.tokens.shape.as_list() == [None, width, 9]
    assert static.scores.shape.as_list() == static.lengths.shape.as_list() == [None, width]

    nobody = module.decode(**{name: tensor[:0] for name, tensor in state.items()})
    assert [tensor.shape.as_list() for tensor in nobody] == [
        [0, width, 9],
        [0, width],
        [0, width],
        [0, width, 9],
        [0, width],
    ]


WORDS = ["<pad>", "<s>", "</s>", "<unk>", "a", "the", "dog", "cat", "bird", "runs"]
NEXT_WORD = {
    "<s>": {"a": 0.5, "the": 0.4, "<unk>": 0.1},
    "a": {"dog": 0.4, "cat": 0.3, "bird": 0.3},
    "the": {"dog": 0.9, "</s>": 0.1},
    "dog": {"</s>": 0.75, "runs": 0.25},
    "cat": {"</s>": 1.0},
    "bird": {"</s>": 1.0},
    "runs": {"runs": 1.0},
}


def step_words(tokens: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A bigram model; what it does not know is impossible."""
    table = np.zeros([len(WORDS), len(WORDS)], np.float32)
    for word, following in NEXT_WORD.items():
        for other, probability in following.items():
            table[WORDS.index(word), WORDS.index(other)] = probability
    return tf.math.log(tf.gather(tf.constant(table), tokens)), state


def read(captions: Captions) -> list[str]:
    """The captions of the first image as text."""
    return [
        " ".join(WORDS[token] for token in strip(tokens)[:-1])
        for tokens in captions.tokens.numpy()[0]
    ]


def test_readable_captions() -> None:
    options = DecodeConfig(beam_width=3, max_length=3, length_normalisation="none")
    by_greed, by_beam = (
        greedy(step_words, tf.zeros([1]), options),
        beam(step_words, tf.zeros([1]), options),
    )
    assert read(by_greed) == ["a dog"]
    np.testing.assert_allclose(np.exp(by_greed.scores), [[0.5 * 0.4 * 0.75]], rtol=1e-5)
    assert read(by_beam) == ["the dog", "a dog", "a cat"]
    np.testing.assert_allclose(np.exp(by_beam.scores), [[0.4 * 0.9 * 0.75, 0.15, 0.15]], rtol=1e-5)
    np.testing.assert_allclose(
        np.exp(by_beam.token_log_probs[0, 0]), [0.4, 0.9, 0.75, 1.0], rtol=1e-5
    )


def test_an_end_that_the_model_rules_out_is_no_caption() -> None:
    options = DecodeConfig(beam_width=2, max_length=4, min_length=3, length_normalisation="none")
    captions = beam(step_words, tf.zeros([1]), options)
    assert read(captions) == ["", ""]
    assert np.all(captions.scores == -np.inf)


def test_equal_captions_come_in_a_fixed_order() -> None:
    def step(tokens: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.zeros([tf.shape(tokens)[0], 7]), state

    options = DecodeConfig(beam_width=5, max_length=2, min_length=1, length_normalisation="none")
    assert [strip(row) for row in beam(step, tf.zeros([1]), options).tokens.numpy()[0]] == [
        (4, END),
        (5, END),
        (4, 4, END),
        (4, 5, END),
        (4, 6, END),
    ]
    assert strip(greedy(step, tf.zeros([1]), options).tokens.numpy()[0, 0]) == (4, END)


@pytest.mark.parametrize(
    ("rules", "steps"),
    [
        ({"length_normalisation": "none"}, 2),
        ({"length_normalisation": "mean"}, 9),
        ({"length_penalty": 0.7}, 3),
    ],
    ids=str,
)
def test_stops_when_no_open_caption_can_win(rules: dict, steps: int) -> None:
    """The end has probability .6 and the one word .4, so '' has ln .6 and 'a' ln .24.

    What is open after t steps has t ln .4, divided by at most the norm of 11 tokens. That falls
    below the second finished score at t = 2 (-1.83 < -1.43), t = 9 (-.750 < -.714) and t = 3 (-1.38
    < -1.28).
    """
    calls = []

    def step(tokens: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        calls.append(tokens.shape)
        return tf.math.log([[0.0, 0.0, 0.6, 0.0, 0.4]] * tokens.shape[0]), state

    captions = beam(step, tf.zeros([1]), DecodeConfig(beam_width=2, max_length=10, **rules))
    assert [strip(tokens) for tokens in captions.tokens.numpy()[0]] == [(END,), (4, END)]
    assert len(calls) == steps


def test_greedy_stops_when_all_rows_have_ended_or_died() -> None:
    """Row 0 ends at the first step, row 1 at the third; row 2 has no numbers and dies at once."""
    calls = []

    def step(tokens: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        calls.append(tokens.numpy().tolist())
        return tf.one_hot(tf.where(len(calls) >= state[:, 0], END, 4), 5) + state[:, 1:], state

    captions = greedy(
        step, tf.constant([[1.0, 0.0], [3.0, 0.0], [1.0, np.nan]]), DecodeConfig(max_length=10)
    )
    assert captions.lengths.numpy().tolist() == [[1], [3], [0]]
    assert [call[:2] for call in calls] == [[1, 1], [END, 4], [0, 4]]


@EACH_SEARCH
@pytest.mark.parametrize("suppress", [(0, 1, 3), ()])
def test_bad_logits_spoil_their_own_row_alone(
    search: Search, options: DecodeConfig, suppress: tuple[int, ...]
) -> None:
    options = dataclasses.replace(options, suppress=suppress)
    toy = Toy(rows=6, positions=9, vocabulary_size=17, seed=7)
    clean = run(search, toy, list(range(6)), options)
    toy.logits[1], toy.logits[3], toy.logits[4] = np.nan, np.inf, -np.inf
    spoilt = run(search, toy, list(range(6)), options)
    for row in (1, 3, 4):
        check_row(spoilt, row, [])
    good = [0, 2, 5]
    check_same(
        Captions(*(field[good] for field in spoilt)), Captions(*(field[good] for field in clean))
    )


@pytest.mark.parametrize("search", [greedy, beam, sample, diverse])
def test_a_caption_without_a_legal_word_ends_or_dies(search: Search) -> None:
    toy = Toy(rows=1, positions=5, vocabulary_size=5)
    shared = {
        "beam_width": 2,
        "max_length": 4,
        "block_ngrams": 1,
        "temperature": 5.0,
        "num_samples": 2,
    }
    ends = run(search, toy, [0], DecodeConfig(min_length=1, **shared))
    assert strip(ends.tokens[0, 0]) == (4, END)
    dies = run(search, toy, [0], DecodeConfig(min_length=2, **shared))
    check_row(dies, 0, [])


def test_a_step_may_lose_static_shapes() -> None:
    def step(tokens: tf.Tensor, state: tuple) -> tuple[tf.Tensor, tuple]:
        hidden, count = state
        hidden = tf.boolean_mask(hidden, count >= 0) + 1.0
        return tf.concat([tf.zeros([tf.shape(tokens)[0], 3]), hidden], axis=1), (hidden, count + 1)

    def search(by: Search) -> Captions:
        state = (tf.zeros([2, 2]), tf.zeros([2], tf.int64))
        return by(step, state, DecodeConfig(max_length=2, min_length=2, suppress=(0, 1)))

    for by in (greedy, beam, sample, diverse):
        assert tf.function(search)(by).lengths.numpy()[:, 0].tolist() == [3, 3]


def sampled_distribution(toy: Toy, options: DecodeConfig) -> dict[tuple[int, ...], float]:
    """The probability with which sampling gives each caption of row 0."""
    captions: dict[tuple[int, ...], float] = {}

    def grow(words: tuple[int, ...], probability: float) -> None:
        legal = [token for token in range(toy.logits.shape[-1]) if is_legal(words, token, options)]
        weights = np.exp(toy.log_probs(0, words)[legal] / options.temperature)
        weights /= weights.sum()
        ranked = sorted(zip(weights, legal, strict=True), reverse=True)
        size = 1 + sum(np.cumsum([weight for weight, _ in ranked]) < options.top_p - 1e-9)
        nucleus = ranked[: int(size)]
        for weight, token in nucleus:
            chance = probability * weight / sum(weight for weight, _ in nucleus)
            if token == END:
                captions[(*words, token)] = chance
            else:
                grow((*words, token), chance)

    grow((), 1.0)
    return captions


def chi_square(counts: dict[tuple[int, ...], int], expected: dict[tuple[int, ...], float]) -> float:
    """In units of its degrees of freedom: about 1 for the right distribution."""
    assert set(counts) <= set(expected)
    total = sum(counts.values())
    wanted = {key: total * chance for key, chance in expected.items()}
    terms = [(counts.get(key, 0) - number) ** 2 / number for key, number in wanted.items()]
    return sum(terms) / (len(terms) - 1)


def count(tokens: np.ndarray) -> dict[tuple[int, ...], int]:
    rows, counts = np.unique(tokens.reshape(-1, tokens.shape[-1]), axis=0, return_counts=True)
    return {strip(row): int(number) for row, number in zip(rows, counts, strict=True)}


@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"temperature": 0.6},
        {"temperature": 2.0, "top_p": 0.7},
        {"top_p": 0.5},
        {"block_ngrams": 1, "min_length": 1},
    ],
    ids=str,
)
def test_samples_follow_the_distribution(rules: dict) -> None:
    toy = Toy(rows=1, positions=3, vocabulary_size=7, seed=8)
    options = DecodeConfig(max_length=2, num_samples=20000, sampling_seed=1, **rules)
    expected = sampled_distribution(toy, options)
    assert chi_square(count(run(sample, toy, [0], options).tokens), expected) < 2.5


def test_samples_of_many_seeds_follow_the_distribution() -> None:
    toy = Toy(rows=1, positions=3, vocabulary_size=7, seed=9)
    options = DecodeConfig(max_length=2)
    draw = tf.function(lambda state, seeds: sample(toy.step, state, options, seeds))
    tokens = draw(toy.state([0] * 8000), tf.range(8000)).tokens.numpy()
    assert chi_square(count(tokens), sampled_distribution(toy, options)) < 2.5


def test_seeds() -> None:
    toy = Toy(rows=1, positions=9, vocabulary_size=17, seed=10)
    options = DecodeConfig(max_length=8, num_samples=2)
    seventh, eighth = (
        run(sample, toy, [0], dataclasses.replace(options, sampling_seed=seed)).tokens[0]
        for seed in (7, 8)
    )
    together = run(sample, toy, [0, 0, 0], options, tf.constant([8, 7, 8]))
    np.testing.assert_array_equal(together.tokens, [eighth, seventh, eighth])
    assert (seventh != eighth).any()
    assert (seventh[0] != seventh[1]).any()


def test_a_small_nucleus_is_greedy() -> None:
    toy = Toy(rows=6, positions=9, vocabulary_size=17, seed=11)
    options = DecodeConfig(max_length=8, top_p=0.001)
    rows = list(range(6))
    sampled, walked = run(sample, toy, rows, options), run(greedy, toy, rows, options)
    np.testing.assert_array_equal(sampled.tokens, walked.tokens)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"beam_width": 0}, "--beam_width=0 is below the least value, 1"),
        (
            {"length_normalisation": "max"},
            "--length_normalisation=max is not one of wu, mean, none",
        ),
        ({"length_penalty": -0.1}, "--length_penalty=-0.1 is below the least value, 0.0"),
        ({"length_penalty": float("nan")}, "--length_penalty=nan is below the least value, 0.0"),
        ({"max_length": 0}, "--max_length=0 is below the least value, 1"),
        ({"min_length": 21}, "--min_length=21 is above --max_length=20: no caption fits"),
        ({"block_ngrams": -1}, "--block_ngrams=-1 is below the least value, 0"),
        ({"search": "best"}, "--search=best is not one of beam, sample, diverse, mbr"),
        ({"diversity": -0.5}, "--diversity=-0.5 is below the least value, 0.0"),
        ({"temperature": 0.0}, "--temperature=0.0 is below the least value, 0.001"),
        ({"top_p": 1.1}, "--top_p=1.1 is above the greatest value, 1.0"),
        (
            {"sampling_seed": 2**31},
            "--sampling_seed=2147483648 is above the greatest value, 2147483647",
        ),
        ({"num_samples": 0}, "--num_samples=0 is below the least value, 1"),
        ({"suppress": (0, -3)}, "--suppress=(0, -3) holds a negative token"),
        ({"end_token": 3}, "--end_token=3 is also padding or suppressed: no caption ends"),
        (
            {"suppress": (), "end_token": 0},
            "--end_token=0 is also padding or suppressed: no caption ends",
        ),
    ],
    ids=str,
)
def test_options_out_of_range(values: dict, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        DecodeConfig(**values)
    assert str(caught.value) == line


def test_tokens_outside_the_vocabulary() -> None:
    def step(tokens: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.zeros([tf.shape(tokens)[0], 5]), state

    with pytest.raises(ConfigError, match="^--suppress or --end_token=9: the last token is 4$"):
        greedy(step, tf.zeros([1]), DecodeConfig(suppress=(0, 9)))
