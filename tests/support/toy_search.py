"""Toy tables in place of a model, on which every search can be checked by plain Python."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from imgcap.config import DecodeConfig
from imgcap.model.search import Captions

END = 2
Search = Callable[..., Captions]


class Toy:
    """Random logits that depend on the row, the position and the last two tokens."""

    def __init__(self, rows: int, positions: int, vocabulary_size: int, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        shape = (rows, positions, vocabulary_size, vocabulary_size, vocabulary_size)
        self.logits = generator.normal(scale=1.5, size=shape).astype(np.float32)

    def state(self, rows: list[int]) -> dict[str, tf.Tensor]:
        zeros = tf.zeros([len(rows)], tf.int32)
        return {"row": tf.constant(rows, tf.int32), "position": zeros, "before": zeros}

    def step(
        self, tokens: tf.Tensor, state: dict[str, tf.Tensor]
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        where = tf.stack([state["row"], state["position"], state["before"], tokens], axis=1)
        new_state = {"row": state["row"], "position": state["position"] + 1, "before": tokens}
        return tf.gather_nd(tf.constant(self.logits), where), new_state

    def log_probs(self, row: int, words: tuple[int, ...]) -> np.ndarray:
        """Log-probabilities of the token after `words`, in float64."""
        before, last = (0, 1, *words)[-2:]
        logits = self.logits[row, len(words), before, last].astype(np.float64)
        return logits - np.log(np.sum(np.exp(logits)))

    def token_log_probs(self, row: int, tokens: tuple[int, ...]) -> list[float]:
        """Teacher forcing."""
        return [self.log_probs(row, tokens[:i])[token] for i, token in enumerate(tokens)]


def norm(length: int, options: DecodeConfig) -> float:
    if options.length_normalisation == "wu":
        return ((5 + length) / 6) ** options.length_penalty
    return length if options.length_normalisation == "mean" else 1.0


def is_legal(words: tuple[int, ...], token: int, options: DecodeConfig) -> bool:
    if token == options.end_token:
        return len(words) >= options.min_length
    n, longer = options.block_ngrams, (*words, token)
    ngrams = [longer[i : i + n] for i in range(len(longer) - n + 1)]
    repeats = n > 0 and len(set(ngrams)) < len(ngrams)
    return len(words) < options.max_length and token not in options.suppress and not repeats


def run(search: Search, toy: Toy, rows: list[int], *options: object) -> Captions:
    """The search in numpy; eagerly, which spares the tracing."""
    return Captions(*(tensor.numpy() for tensor in search(toy.step, toy.state(rows), *options)))


def check_same(ours: Captions, theirs: Captions) -> None:
    """The same tokens; TensorFlow's softmax rounds a row by its place in the batch, so numbers to
    1e-5.
    """
    np.testing.assert_array_equal(ours.tokens, theirs.tokens)
    for name in Captions._fields[1:]:
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-5, atol=1e-5)


def strip(tokens: np.ndarray) -> tuple[int, ...]:
    """Up to the end token; nothing if there is none."""
    listed = tokens.tolist()
    return tuple(listed[: listed.index(END) + 1]) if END in listed else ()


def check_row(captions: Captions, row: int, expected: list[tuple[float, tuple[int, ...]]]) -> None:
    """The captions of one image are the expected ones, and after them nothing."""
    width = captions.tokens.shape[1]
    assert [strip(tokens) for tokens in captions.tokens[row]] == (
        [tokens for _, tokens in expected] + [()] * (width - len(expected))
    )
    scores = [score for score, _ in expected] + [-np.inf] * (width - len(expected))
    np.testing.assert_allclose(captions.scores[row], scores, atol=1e-5)
    assert np.all(captions.log_probs[row, len(expected) :] == -np.inf)
    assert not captions.tokens[row, len(expected) :].any()
    assert not captions.token_log_probs[row, len(expected) :].any()
    lengths = [len(tokens) for _, tokens in expected]
    assert captions.lengths[row].tolist() == lengths + [0] * (width - len(lengths))
