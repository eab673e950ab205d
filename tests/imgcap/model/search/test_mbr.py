"""Minimum Bayes risk: on toy tables against CIDEr-D in Python, and worked by hand."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from imgcap.config import DecodeConfig
from imgcap.data.text.ngrams import DocumentFrequencies
from imgcap.errors import ConfigError, RunError
from imgcap.evaluation.scores import cider
from imgcap.model.search import Captions, Step, beam, find_captions, least_risk, sample
from imgcap.model.search.cider_reward import CiderReward
from imgcap.model.search.mbr import sort_by_reward
from imgcap.model.search.sampling import draw_uniforms
from tests.support.toy_search import END, Toy, check_same, run, strip

ROWS, POSITIONS, VOCABULARY = 6, 7, 9
OPTIONS = DecodeConfig(
    search="mbr", beam_width=4, num_samples=8, temperature=1.5, sampling_seed=3, max_length=6
)


def words(caption: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(map(str, caption))


class Training:
    """Drawn references of training images: their n-grams by number, and as words in Python."""

    def __init__(self) -> None:
        rng = np.random.default_rng(5)
        images = [
            [(*rng.integers(4, VOCABULARY, size=rng.integers(1, 6)).tolist(), END)] * 2
            for _ in range(30)
        ]
        padded = [np.array([[*one, *[0] * (7 - len(one))] for one in group]) for group in images]
        self.reward = CiderReward(DocumentFrequencies.count(padded, VOCABULARY))
        self.frequencies = cider.DocumentFrequencies.build(
            [[words(one) for one in group] for group in images]
        )

    def gain(self, caption: tuple[int, ...], drawn: list[tuple[int, ...]]) -> float:
        """The mean CIDEr-D of a caption to drawn ones, in Python."""
        return cider.Cider([list(map(words, drawn))], self.frequencies).score(0, words(caption))


@pytest.fixture(scope="module")
def training() -> Training:
    return Training()


@pytest.fixture(scope="module")
def toy() -> Toy:
    return Toy(rows=ROWS, positions=POSITIONS, vocabulary_size=VOCABULARY, seed=31)


def search(toy: Toy, rows: list[int], options: DecodeConfig, training: Training) -> Captions:
    found = least_risk(lambda _: toy.step, toy.state(rows), options, training.reward)
    return Captions(*(field.numpy() for field in found))


def test_it_sorts_beams_by_their_cider_to_samples(toy: Toy, training: Training) -> None:
    rows = list(range(ROWS))
    found = search(toy, rows, OPTIONS, training)
    beams, drawn = run(beam, toy, rows, OPTIONS), run(sample, toy, rows, OPTIONS, None, True)
    changed = 0
    for row in rows:
        samples = [strip(tokens) for tokens in drawn.tokens[row]]
        gains = [training.gain(strip(tokens), samples) for tokens in beams.tokens[row]]
        order = sorted(range(OPTIONS.beam_width), key=lambda at: -gains[at])
        changed += order[0] != 0
        for ours, theirs in zip(found, beams, strict=True):
            np.testing.assert_array_equal(ours[row], theirs[row][order])
        assert max(gains) > gains[order[1]] > 0.0, gains
    assert 0 < changed < ROWS


def test_even_draws_share_each_place() -> None:
    options = DecodeConfig(num_samples=40, max_length=5)
    found = draw_uniforms(tf.constant([7, 8, 7]), options, evenly=True).numpy()
    found = found.reshape([3, 40, 6])
    assert (found[0] == found[2]).all() and (found[0] != found[1]).all()
    assert found.min() >= 0 and found.max() < 1
    parts = np.floor(found[:2] * 40).astype(int)
    for column in parts.transpose([0, 2, 1]).reshape([12, 40]):
        assert sorted(column) == list(range(40))
    # Each place has an order of its own, and each number its place within its part.
    assert len({tuple(column) for column in parts[0].T}) == 6
    assert 0.4 < np.mean(found[:2] * 40 - parts) < 0.6


def test_samples_that_are_drawn_evenly_have_each_word_as_often_as_is_probable(toy: Toy) -> None:
    options = dataclasses.replace(OPTIONS, num_samples=300, temperature=1.0, max_length=2)
    drawn = run(sample, toy, [0], options, None, True)
    probabilities = np.exp(toy.log_probs(0, ()))
    probabilities[list(options.suppress)] = 0.0
    wanted = 300 * probabilities / probabilities.sum()
    counts = np.bincount(drawn.tokens[0, :, 0], minlength=VOCABULARY)
    assert (np.abs(counts - wanted) < 2).all(), (counts, wanted)


def test_a_row_depends_on_no_other(toy: Toy, training: Training) -> None:
    together = search(toy, [4, 1, 0], OPTIONS, training)
    for place, row in enumerate([4, 1]):
        alone = search(toy, [row], OPTIONS, training)
        check_same(Captions(*(field[place : place + 1] for field in together)), alone)
    others = dataclasses.replace(OPTIONS, sampling_seed=4)
    assert (search(toy, [4], others, training).scores != together.scores[:1]).any()


def make_captions(rows: list[list[tuple[int, ...]]]) -> Captions:
    """Captions with scores -1, -2 …; an empty one was not found."""
    tokens = np.array([[[*one, *[0] * (7 - len(one))] for one in row] for row in rows], np.int32)
    lengths = np.array([[len(one) for one in row] for row in rows], np.int32)
    scores = np.where(lengths > 0, -1.0 - np.arange(len(rows[0])), -np.inf).astype(np.float32)
    return Captions(
        *map(tf.constant, (tokens, scores, scores, np.zeros(tokens.shape, np.float32), lengths))
    )


def sort(beams: list[tuple[int, ...]], drawn: list[tuple[int, ...]], training: Training) -> list:
    references = make_captions([drawn]).tokens
    found = sort_by_reward(make_captions([beams]), references, training.reward)
    return [
        (strip(tokens), float(score))
        for tokens, score in zip(found.tokens[0].numpy(), found.scores[0], strict=True)
    ]


A, B, C = (4, 5, 6, END), (7, 8, 4, END), (7, 8, 5, 5, END)


def test_samples_that_agree_choose_what_they_say(training: Training) -> None:
    """Three samples that all say B: B, then C, which shares two words with it, then A."""
    assert sort([A, C, B], [B, B, B], training) == [(B, -3.0), (C, -2.0), (A, -1.0)]


def test_samples_that_died_do_not_count(training: Training) -> None:
    assert sort([A, B], [(), B, ()], training) == sort([A, B], [B], training)
    # Nothing to choose by leaves the order of the beam.
    assert sort([A, C, B], [(), ()], training) == [(A, -1.0), (C, -2.0), (B, -3.0)]


def test_of_equal_captions_the_better_score_is_first(training: Training) -> None:
    assert sort([A, B, A, B], [B], training) == [(B, -2.0), (B, -4.0), (A, -1.0), (A, -3.0)]


def test_captions_that_were_not_found_are_last(training: Training) -> None:
    """A has nothing in common with the sample, and still comes before what was not found."""
    assert sort([A, (), B, ()], [C], training) == [
        (B, -3.0),
        (A, -1.0),
        ((), -np.inf),
        ((), -np.inf),
    ]


def test_logits_that_are_no_numbers(training: Training) -> None:
    broken = Toy(rows=2, positions=POSITIONS, vocabulary_size=VOCABULARY, seed=31)
    broken.logits[1] = np.nan
    found = search(broken, [0, 1], OPTIONS, training)
    assert (found.scores[1] == -np.inf).all() and not found.tokens[1].any()
    check_same(Captions(*(field[:1] for field in found)), search(broken, [0], OPTIONS, training))


def test_options_name_the_search(toy: Toy, training: Training) -> None:
    widths = []

    def bind(copies: int) -> Step:
        widths.append(copies)
        return toy.step

    state = toy.state([0, 1])
    found = find_captions(bind, state, OPTIONS, reward=training.reward)
    assert OPTIONS.num_captions == found.scores.shape[1] == 4 and widths == [4, 8]
    check_same(
        Captions(*(field.numpy() for field in found)), search(toy, [0, 1], OPTIONS, training)
    )
    with pytest.raises(RunError, match="--search=mbr needs the document frequencies"):
        find_captions(bind, state, OPTIONS)


def test_settings_that_were_not_given_are_those_of_mbr() -> None:
    trained = DecodeConfig(beam_width=2, temperature=1.3, top_p=0.9, length_penalty=1.0)
    options = trained.override({"search": "mbr"})
    assert options == dataclasses.replace(
        trained, search="mbr", beam_width=5, num_samples=20, temperature=0.7
    )
    given = trained.override({"search": "mbr", "num_samples": 7})
    assert (given.beam_width, given.num_samples, given.temperature) == (5, 7, 0.7)
    # A run that searches so already keeps its own.
    assert given.override({"search": "mbr", "beam_width": 9}).num_samples == 7
    assert given.override({"search": "beam"}).beam_width == 5
    for name in ("beam_width", "num_samples"):
        with pytest.raises(ConfigError) as caught:
            trained.override({"search": "mbr", name: 1})
        assert str(caught.value) == (
            f"--{name}=1 leaves --search=mbr no choice: give at least 2, or --search=beam"
        )
