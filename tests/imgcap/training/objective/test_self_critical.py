"""The self-critical gradient against one worked out by hand, and its mean against all captions
there are.
"""

import dataclasses
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from imgcap.config import DecodeConfig, TrainConfig
from imgcap.data.text.vocabulary import END, PAD, START
from imgcap.errors import ConfigError
from imgcap.model.captioner import Captioner
from imgcap.model.decoders import Start
from imgcap.model.decoders.base import Forced
from imgcap.training.objective import self_critical
from imgcap.training.objective.losses import TokenLoss

VOCABULARY = 6
A, B = 4, 5
OPTIONS = DecodeConfig(max_length=2)
CONFIG = TrainConfig(
    data_dir="data",
    workdir="run",
    objective="scst",
    finetune_from="base",
    scst_samples=2,
    scst_temperature=0.8,
)


class Table:
    """A decoder without an image: the logits of a word hang on the word before it alone."""

    def __init__(self) -> None:
        self.logits = tf.Variable(
            np.random.default_rng(0).normal(size=[VOCABULARY, VOCABULARY]), dtype=tf.float32
        )

    def begin(self, features: tf.Tensor, seed: tf.Tensor | None = None) -> Start:
        return Start((), (features[:, 0],))

    def step(self, tokens, memory, state):
        return tf.gather(self.logits, tokens), state

    def teacher_forcing(self, tokens, start, seed=None) -> Forced:
        return Forced(tf.gather(self.logits, tokens), tf.zeros([1, 1, 0]))


@pytest.fixture
def captioner() -> Captioner:
    return Captioner(SimpleNamespace(), Table(), None)


def worth(candidates: tf.Tensor, references: tf.Tensor) -> tf.Tensor:
    """A reward that can be told by looking: 3 for each A, 1 for each B."""
    counts = [
        tf.math.count_nonzero(candidates == word, axis=-1, dtype=tf.float32) for word in (A, B)
    ]
    return 3 * counts[0] + counts[1] + 0 * tf.cast(references[:, :1, 0], tf.float32)


def cost_of(
    captioner: Captioner, references: tf.Tensor, seed: list[int], config: TrainConfig = CONFIG
) -> TokenLoss:
    """The loss of images whose features are 0."""
    features = tf.zeros([len(references), 1, 1])
    return self_critical.self_critical_loss(
        captioner, config, OPTIONS, worth, features, references, tf.constant(seed)
    )


def dense(tape: tf.GradientTape, cost: TokenLoss, captioner: Captioner) -> np.ndarray:
    return tf.convert_to_tensor(tape.gradient(cost.total, captioner.decoder.logits)).numpy()


def softmax(logits: np.ndarray) -> np.ndarray:
    legal = [END, A, B]
    weights = np.zeros(VOCABULARY)
    weights[legal] = np.exp(logits[legal] / CONFIG.scst_temperature)
    return weights / weights.sum()


def captions() -> list[list[int]]:
    """All captions of at most two words, with the end and padding."""
    words = [
        list(caption) for size in range(3) for caption in itertools.product([A, B], repeat=size)
    ]
    return [caption + [END] + [PAD] * (2 - len(caption)) for caption in words]


def slope(logits: np.ndarray, caption: list[int]) -> np.ndarray:
    """The gradient of a caption's log-probability; the end behind two words was forced."""
    total = np.zeros_like(logits)
    for place, (before, word) in enumerate(zip([START, *caption], caption, strict=False)):
        if word != PAD and place < 2:
            total[before] += (
                np.eye(VOCABULARY)[word] - softmax(logits[before])
            ) / CONFIG.scst_temperature
    return total


def probability(logits: np.ndarray, caption: list[int]) -> float:
    steps = zip([START, *caption], caption[:2], strict=False)
    return float(np.prod([softmax(logits[before])[word] for before, word in steps if word != PAD]))


def test_all_captions_are_one_together(captioner: Captioner) -> None:
    start = Start((), (tf.zeros([1, 1]),))
    log_probs = self_critical.policy_log_probs(
        captioner, CONFIG, OPTIONS, start, tf.constant([captions()])
    )
    logits = captioner.decoder.logits.numpy()
    np.testing.assert_allclose(
        np.exp(log_probs[0]), [probability(logits, one) for one in captions()], rtol=1e-5
    )
    assert np.exp(log_probs).sum() == pytest.approx(1.0)


@pytest.mark.parametrize("baseline", ["mean", "greedy"])
def test_gradient_by_hand(
    captioner: Captioner, baseline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = [[A, END, PAD], [B, A, END]]
    monkeypatch.setattr(self_critical, "_sample", lambda *_: tf.constant([drawn]))
    config = dataclasses.replace(CONFIG, scst_baseline=baseline)
    with tf.GradientTape() as tape:
        cost = cost_of(captioner, tf.constant([[[START, A, B, END]]]), [0, 0], config)
    logits = captioner.decoder.logits.numpy()
    greedy = []
    while len(greedy) < 2 and (not greedy or greedy[-1] != END):
        greedy.append(int(softmax(logits[greedy[-1] if greedy else START]).argmax()))
    beaten = 3 * greedy.count(A) + greedy.count(B)
    # The samples earn 3 and 4; the mean of the others is the other one.
    advantages = [3 - 4, 4 - 3] if baseline == "mean" else [3 - beaten, 4 - beaten]
    wanted = -sum(
        gain * slope(logits, caption) for gain, caption in zip(advantages, drawn, strict=True)
    )
    np.testing.assert_allclose(dense(tape, cost, captioner), wanted, atol=1e-5)
    assert cost.tokens == 3
    assert cost.reward == (3 + 4) / 2  # for one caption


def test_mean_gradient_is_that_of_the_expected_reward(captioner: Captioner) -> None:
    images = 4000
    references = tf.constant([[[START, A, B, END]]] * images)

    # As training does; eager, the numbers of 4,000 images would be drawn one after the other.
    @tf.function(autograph=False)
    def gradient() -> tf.Tensor:
        with tf.GradientTape() as tape:
            cost = cost_of(captioner, references, [1, 2])
        return tf.convert_to_tensor(tape.gradient(cost.total, captioner.decoder.logits))

    got = gradient().numpy() / images / CONFIG.scst_samples
    logits = captioner.decoder.logits.numpy()
    wanted = -sum(
        probability(logits, one) * (3 * one.count(A) + one.count(B)) * slope(logits, one)
        for one in captions()
    )
    np.testing.assert_allclose(got, wanted, atol=0.06)
    assert np.abs(wanted).max() > 0.3


def test_rows_of_padding_teach_nothing(captioner: Captioner) -> None:
    with tf.GradientTape() as tape:
        cost = cost_of(captioner, tf.zeros([3, 2, 4], tf.int32), [1, 2])
    assert cost.tokens == 0
    assert not np.any(dense(tape, cost, captioner))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"finetune_from": ""}, "give its run as --finetune_from"),
        ({"jit": True}, "--jit can't compile"),
    ],
)
def test_what_it_needs(settings: dict, message: str) -> None:
    CONFIG.validate()
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(CONFIG, **settings).validate()


def test_one_mask_of_the_image_for_drawing_and_for_the_gradient(
    captioner: Captioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Captions drawn from what one mask shows would not be samples of what another shows."""
    begun, used = [], []

    def begin(features: tf.Tensor, seed: tf.Tensor | None = None) -> Start:
        begun.append((seed, Start((), (features[:, 0],))))
        return begun[-1][1]

    def note(*arguments: object) -> tf.Tensor:
        used.append(next(one for one in arguments if isinstance(one, Start)))
        return tf.constant([[[A, END, PAD], [B, A, END]]])

    log_probs = self_critical.policy_log_probs
    monkeypatch.setattr(captioner.decoder, "begin", begin, raising=False)
    monkeypatch.setattr(self_critical, "_sample", note)
    monkeypatch.setattr(
        self_critical,
        "policy_log_probs",
        lambda *arguments: (note(*arguments), log_probs(*arguments))[1],
    )
    seed = tf.constant([3, 4])
    self_critical.self_critical_loss(
        captioner,
        CONFIG,
        OPTIONS,
        worth,
        tf.zeros([1, 1, 1]),
        tf.constant([[[START, A, B, END]]]),
        seed,
    )
    assert len(begun) == 1 and begun[0][0] is seed
    assert used == [begun[0][1]] * 2
