"""Diverse search on toy tables: against a plain search in Python, worked by hand, and the extremes;
and which search a set of decode options names.
"""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from imgcap.config import DecodeConfig
from imgcap.errors import ConfigError
from imgcap.model.search import Captions, beam, diverse, find_captions, greedy, sample
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
    {"diversity": 0.5},
    {"diversity": 3.0, "length_penalty": 0.0},
    {"diversity": 1.0, "length_normalisation": "mean", "min_length": 2},
    {"diversity": 0.3, "block_ngrams": 1},
    {"diversity": 1.0, "suppress": ()},
]


def search_in_python(
    toy: Toy, row: int, options: DecodeConfig
) -> list[tuple[float, tuple[int, ...]]]:
    """Diverse search with lists: at each step one caption after the other takes a token."""
    texts: list[tuple[int, ...]] = [()] * options.beam_width
    for _ in range(options.num_tokens):
        taken: list[int] = []
        for group, words in enumerate(texts):
            if words[-1:] == (END,):
                continue
            gains = {
                token: log_prob - options.diversity * taken.count(token)
                for token, log_prob in enumerate(toy.log_probs(row, words))
                if is_legal(words, token, options)
            }
            token = max(gains, key=gains.__getitem__)
            texts[group] = (*words, token)
            taken.append(token)
    scored = [
        (sum(toy.token_log_probs(row, text)) / norm(len(text), options), text) for text in texts
    ]
    return sorted(scored, key=lambda pair: -pair[0])


@pytest.mark.parametrize("rules", RULES, ids=str)
def test_it_is_the_plain_search(rules: dict) -> None:
    toy = Toy(rows=4, positions=7, vocabulary_size=9, seed=21)
    for width in (2, 4):
        options = DecodeConfig(beam_width=width, max_length=6, **rules)
        captions = run(diverse, toy, [0, 1, 2, 3], options)
        for row in range(4):
            check_row(captions, row, search_in_python(toy, row, options))


def test_no_diversity_repeats_the_greedy_caption() -> None:
    toy = Toy(rows=4, positions=9, vocabulary_size=17, seed=22)
    options = DecodeConfig(beam_width=3, max_length=8, diversity=0.0)
    captions, walked = (
        run(diverse, toy, [0, 1, 2, 3], options),
        run(greedy, toy, [0, 1, 2, 3], options),
    )
    check_same(captions, Captions(*(np.repeat(field, 3, axis=1) for field in walked)))


def test_the_first_caption_is_the_greedy_one() -> None:
    toy = Toy(rows=4, positions=9, vocabulary_size=17, seed=23)
    options = DecodeConfig(beam_width=1, max_length=8, diversity=2.0)
    check_same(run(diverse, toy, [0, 1, 2, 3], options), run(greedy, toy, [0, 1, 2, 3], options))


def test_two_captions_worked_by_hand() -> None:
    """Words 4 and 5 have probabilities .6 and .3 at first, the end .1; then the end .7, 4 has .2.

    The first caption takes 4, then the end. At strength ln 3 = 1.10 the second has ln .6 - 1.10 =
    ln .2 for 4 and ln .3 for 5: it takes 5. Then ln .7 - 1.10 = ln .233 for the end and ln .2 for
    4: the end. At strength ln 1.5 the first word is 4 again (ln .4), and so is the end (ln .467).
    At strength ln 7 it is 5, then 4 (ln .2 against ln .1), and then, alone, the end.
    """

    def step(tokens: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        first, later = [0.0, 0.0, 0.1, 0.0, 0.6, 0.3], [0.0, 0.0, 0.7, 0.0, 0.2, 0.1]
        return tf.math.log(tf.where((tokens == 1)[:, None], [first], [later])), state

    for penalty, second, chances in [
        (3.0, (5, END), [0.3, 0.7]),
        (1.5, (4, END), [0.6, 0.7]),
        (7.0, (5, 4, END), [0.3, 0.2, 0.7]),
    ]:
        options = DecodeConfig(
            beam_width=2,
            max_length=4,
            diversity=float(np.log(penalty)),
            length_normalisation="none",
        )
        captions = diverse(step, tf.zeros([1]), options)
        assert [strip(tokens) for tokens in captions.tokens.numpy()[0]] == [(4, END), second]
        # What repeating costs is no part of a score.
        np.testing.assert_allclose(
            np.exp(captions.scores[0]), [0.6 * 0.7, np.prod(chances)], rtol=1e-5
        )


def test_more_captions_differ_than_by_beams() -> None:
    """By the words that the captions of an image have at their first place: beams share it."""
    toy = Toy(rows=8, positions=9, vocabulary_size=17, seed=24)
    rows = list(range(8))
    options = DecodeConfig(beam_width=5, max_length=8, diversity=5.0)
    apart, together = run(diverse, toy, rows, options), run(beam, toy, rows, options)
    firsts = [[len(set(image[:, 0])) for image in found.tokens] for found in (apart, together)]
    assert firsts[0] == [5] * 8 and np.mean(firsts[1]) < 4
    weak = run(diverse, toy, rows, dataclasses.replace(options, diversity=0.1))
    assert count_distinct(weak) < count_distinct(apart)


def count_distinct(captions: Captions) -> int:
    return sum(len(np.unique(image, axis=0)) for image in captions.tokens)


@pytest.mark.parametrize(
    ("values", "search", "copies"),
    [
        ({"beam_width": 3}, beam, 3),
        ({"beam_width": 1}, greedy, 1),
        ({"search": "diverse", "beam_width": 4}, diverse, 4),
        ({"search": "sample", "num_samples": 2, "sampling_seed": 7}, sample, 2),
    ],
    ids=["beam", "greedy", "diverse", "sample"],
)
def test_options_name_their_search(values: dict, search: Search, copies: int) -> None:
    toy = Toy(rows=2, positions=9, vocabulary_size=17, seed=25)
    options = DecodeConfig(max_length=8, **values)
    found = Captions(
        *(field.numpy() for field in find_captions(lambda _: toy.step, toy.state([0, 1]), options))
    )
    assert options.num_captions == found.scores.shape[1] == copies
    for ours, theirs in zip(found, run(search, toy, [0, 1], options), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_setting_that_is_not_read_is_refused() -> None:
    options = DecodeConfig()
    assert options.override({"search": "sample", "top_p": 0.9}).top_p == 0.9
    assert options.override({"beam_width": 5}).beam_width == 5
    for values, line in [
        (
            {"temperature": 0.5},
            "--temperature=0.5 changes nothing with --search=beam: drop it, or give "
            "--search=sample or mbr",
        ),
        (
            {"search": "sample", "beam_width": 2},
            "--beam_width=2 changes nothing with --search=sample: drop it, or give --search=beam "
            "or diverse or mbr",
        ),
        (
            {"search": "sample", "diversity": 1.0},
            "--diversity=1.0 changes nothing with --search=sample: drop it, or give "
            "--search=diverse",
        ),
    ]:
        with pytest.raises(ConfigError) as caught:
            options.override(values)
        assert str(caught.value) == line
