"""CIDEr-D in the graph against CIDEr-D in numpy."""

import numpy as np
import tensorflow as tf

from imgcap.data.text.vocabulary import END, PAD
from imgcap.evaluation.scores.cider import Cider, DocumentFrequencies
from imgcap.model.search.cider_reward import CiderReward

VOCABULARY, LENGTH = 12, 9


def draw_caption(rng: np.random.Generator) -> list[int]:
    """Few words, so that n-grams are met again; sometimes none at all."""
    return [*rng.integers(4, VOCABULARY, size=rng.integers(0, LENGTH)).tolist(), END]


def pad(captions: list[list[int]]) -> np.ndarray:
    return np.array([caption + [PAD] * (LENGTH - len(caption)) for caption in captions], np.int32)


def words(caption: list[int]) -> tuple[str, ...]:
    return tuple(map(str, caption))


def test_equals_the_score_in_numpy() -> None:
    rng = np.random.default_rng(0)
    references = [[draw_caption(rng) for _ in range(rng.integers(1, 5))] for _ in range(40)]
    candidates = [[draw_caption(rng) for _ in range(3)] for _ in references]
    # A caption that says its reference, and one that says a word of it three times.
    candidates[0][0], candidates[1][0] = references[0][0], [references[1][0][0]] * 3 + [END]
    in_words = [[words(caption) for caption in group] for group in references]
    cider = Cider(in_words, DocumentFrequencies.build(in_words))
    wanted = [
        [cider.score(image, words(one)) for one in group] for image, group in enumerate(candidates)
    ]
    reward = CiderReward.build([pad(group) for group in references], VOCABULARY)
    filled = np.stack([pad(group + [[PAD]] * (4 - len(group))) for group in references])
    got = tf.function(reward)(np.stack([pad(group) for group in candidates]), filled)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
    assert np.max(wanted) > 1 and np.min(wanted) < 0.1, (np.max(wanted), np.min(wanted))


def test_images_without_references_earn_nothing() -> None:
    reward = CiderReward.build([pad([[4, 5, END]]), pad([[6, 7, END]])], VOCABULARY)
    assert (reward(pad([[4, 5, END]])[None], np.zeros([1, 2, LENGTH], np.int32)).numpy() == 0).all()


def test_references_shorter_than_an_ngram() -> None:
    reward = CiderReward.build([np.array([[4, END]]), np.array([[5, END]])], VOCABULARY)
    # Of four orders only two have an n-gram at all.
    np.testing.assert_allclose(
        reward(np.array([[[4, END]]]), np.array([[[4, END]]])), [[5.0]], rtol=1e-6
    )
