"""The loss of a distilled run worked out by hand, its teacher, and runs that have one."""

import dataclasses
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from imgcap.cli import train
from imgcap.config import ModelConfig, TrainConfig
from imgcap.data.text.vocabulary import END, PAD, START, UNK, Vocabulary
from imgcap.errors import ConfigError, RunError
from imgcap.model.decoders import Decoder, Ensemble, Start, make_decoder
from imgcap.model.decoders.base import Forced
from imgcap.run import directory
from imgcap.training.objective.distillation import (
    Teacher,
    keep_teacher,
    refuse_other_teacher_words,
)
from imgcap.training.objective.losses import TokenLoss, divergence
from imgcap.training.objective.teacher_forcing import caption_loss

PLAIN = TrainConfig(data_dir="data", workdir="run", objective="distill", teacher="base")
MODEL = ModelConfig(decoder="attention", units=7, embedding_dim=5, attention_units=3, dropout=0.0)
WORDS, POSITIONS, CHANNELS = 30, 4, 6
SEED = tf.constant([3, 4])


class Table(tf.keras.layers.Layer):
    """A decoder without an image: the logits of a word hang on the word before it alone."""

    def __init__(self, probabilities: list[list[float]]) -> None:
        super().__init__()
        self.logits = tf.Variable(np.log(probabilities), dtype=tf.float32)

    def begin(self, features: tf.Tensor, seed: tf.Tensor | None = None) -> Start:
        return Start((), (features[:, 0],))

    def teacher_forcing(self, tokens, start, seed=None) -> Forced:
        return Forced(tf.gather(self.logits, tokens), tf.zeros([1, 1, 0]))


# Rows: after padding (never read), after the start token (1), after word 2.
STUDENT = [[1 / 3] * 3, [0.25, 0.25, 0.5], [0.5, 0.25, 0.25]]
TEACHER = [[1 / 3] * 3, [0.5, 0.25, 0.25], [0.25, 0.25, 0.5]]
# The words 2 and 1, and padding.
CAPTION = tf.constant([[[START, 2, 1, PAD]]])


@pytest.mark.parametrize(
    ("weight", "smoothing", "bits"),
    [
        # From the teacher's 1/2, 1/4, 1/4 to 1/4, 1/4, 1/2: 1/2 · 1 + 0 - 1/4 · 1 bit; likewise
        # the second word.
        (1.0, 0.0, 0.25 + 0.25),
        # The true words have the probabilities 1/2 and 1/4.
        (0.0, 0.0, 1 + 2),
        (0.7, 0.0, 0.7 * 0.5 + 0.3 * 3),
        # Smoothed by the mean over all words, (2 + 2 + 1) / 3 bits each; the teacher's part is not.
        (0.7, 0.1, 0.7 * 0.5 + 0.3 * (0.9 * 3 + 0.1 * 10 / 3)),
    ],
)
def test_loss_by_hand(weight: float, smoothing: float, bits: float) -> None:
    config = dataclasses.replace(PLAIN, teacher_weight=weight, label_smoothing=smoothing)
    cost = caption_loss(
        SimpleNamespace(decoder=Table(STUDENT)),
        config,
        tf.zeros([1, 1, 1]),
        CAPTION,
        SEED,
        teacher=Teacher(Table(TEACHER), "float32"),
    )
    assert float(cost.total) == pytest.approx(bits * np.log(2), rel=1e-6)
    assert cost.tokens == 2


def test_gradient_is_the_difference_of_the_distributions() -> None:
    rng = np.random.default_rng(0)
    logits, taught = (tf.Variable(rng.normal(size=[2, 3, 5]), dtype=tf.float32) for _ in range(2))
    with tf.GradientTape() as tape:
        distance = divergence(logits, taught, tf.constant([[4, 2, PAD], [3, PAD, PAD]]))
    ours, theirs = tape.gradient(distance, [logits, taught])
    real = np.array([[1, 1, 0], [1, 0, 0]])[:, :, np.newaxis]
    wanted = (tf.nn.softmax(logits) - tf.nn.softmax(taught)) * real
    np.testing.assert_allclose(ours, wanted, atol=1e-6)
    assert theirs is None
    p, q = (tf.nn.softmax(one).numpy().astype(float) for one in (taught, logits))
    assert float(distance) == pytest.approx((real * p * np.log(p / q)).sum(), rel=1e-5)


@pytest.fixture
def decoder() -> Decoder:
    tf.keras.utils.set_random_seed(0)
    return make_decoder(dataclasses.replace(MODEL, dropout=0.5), WORDS, (POSITIONS, CHANNELS))


@pytest.fixture
def features() -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).normal(size=[2, POSITIONS, CHANNELS]), tf.float32)


TOKENS = tf.constant(
    [[[START, 5, 6, 7, END], [START, 8, END, PAD, PAD]], [[START, 9, 9, END, PAD], [PAD] * 5]]
)


def cost_and_slope(
    decoder: Decoder, teacher: Teacher, features: tf.Tensor, seed: tf.Tensor | None
) -> tuple[TokenLoss, float]:
    config = dataclasses.replace(PLAIN, teacher_weight=1.0)
    with tf.GradientTape() as tape:
        cost = caption_loss(
            SimpleNamespace(decoder=decoder), config, features, TOKENS, seed, teacher=teacher
        )
    gradients = tape.gradient(cost.total, [one.value for one in decoder.trainable_variables])
    return cost, max(float(tf.reduce_max(tf.abs(tf.convert_to_tensor(one)))) for one in gradients)


@pytest.mark.parametrize("members", [1, 2])
def test_a_teacher_has_nothing_to_teach_itself(
    decoder: Decoder, features: tf.Tensor, members: int
) -> None:
    same = decoder if members == 1 else Ensemble([decoder, decoder], [0.25, 0.75], "log")
    cost, slope = cost_and_slope(decoder, Teacher(same, "float32"), features, None)
    assert abs(float(cost.total)) < 1e-5 and slope < 1e-5
    # The teacher sees what dropout hides from the student.
    cost, slope = cost_and_slope(decoder, Teacher(same, "float32"), features, SEED)
    assert float(cost.total) > 0.01 and slope > 0.01


def test_the_teacher_reads_the_true_words(decoder: Decoder, features: tf.Tensor) -> None:
    read = []

    class Watched(Table):
        def teacher_forcing(self, tokens, start, seed=None) -> Forced:
            read.append((tokens.numpy(), seed))
            return super().teacher_forcing(tokens, start, seed)

    teacher, student = (Watched(np.full([WORDS, WORDS], 1 / WORDS)) for _ in range(2))
    config = dataclasses.replace(PLAIN, word_dropout=0.9)
    caption_loss(
        SimpleNamespace(decoder=student),
        config,
        features,
        TOKENS,
        SEED,
        teacher=Teacher(teacher, "float32"),
    )
    (students, seed), (teachers, no_seed) = read
    assert (students == UNK).any() and seed is SEED
    np.testing.assert_array_equal(teachers, tf.reshape(TOKENS, [4, 5])[:, :-1])
    assert no_seed is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher": ""}, "--objective=distill learns from another captioner: give its run as"),
        (
            {"objective": "cross_entropy"},
            "--teacher=base is for --objective=distill: give that too, or drop it",
        ),
        (
            {"finetune_blocks": 1},
            "--finetune_blocks=1 changes the features, which the teacher of --objective=distill",
        ),
        ({"teacher_weight": 1.5}, "--teacher_weight=1.5 is above the greatest value, 1.0"),
    ],
)
def test_settings_that_do_not_fit(settings: dict, message: str) -> None:
    PLAIN.validate()
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(PLAIN, **settings).validate()


def test_a_teacher_of_other_words(workdir: Path, data_dir: Path, tmp_path: Path) -> None:
    same = Vocabulary.load(data_dir / "vocab.txt", "word")
    refuse_other_teacher_words(str(workdir), same)
    (tmp_path / "vocab.txt").write_text((data_dir / "vocab.txt").read_text() + "zebra\n")
    other = Vocabulary.load(tmp_path / "vocab.txt", "word")
    message = (
        f"--teacher={workdir} has vocabulary {same.fingerprint} (word), --data_dir "
        f"{other.fingerprint} (word): give the --data_dir it was trained on"
    )
    with pytest.raises(RunError, match=re.escape(message)):
        refuse_other_teacher_words(str(workdir), other)


def test_a_teacher_that_has_changed(tmp_path: Path) -> None:
    def make(value: float) -> Teacher:
        return Teacher(SimpleNamespace(variables=[tf.Variable([value])]), "float32")

    keep_teacher(tmp_path, "base", make(1.0))
    keep_teacher(tmp_path, "moved", make(1.0))
    before = json.loads((tmp_path / "teacher.json").read_text())
    assert before["teacher"] == "base"
    now = make(2.0).fingerprint()
    message = (
        f"teacher.json: the run's teacher was base with weights {before['weights']}, "
        f"--teacher=other has weights {now} now: give the teacher as it was, or a new --workdir"
    )
    with pytest.raises(RunError, match=re.escape(message)):
        keep_teacher(tmp_path, "other", make(2.0))


def run(workdir: Path, *flags: str) -> int:
    return train.main(["imgcap-train", f"--workdir={workdir}", *flags])


def losses(workdir: Path) -> list[float]:
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


def test_a_distilled_run_goes_on_with_its_teacher(
    workdir: Path, train_flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # In bfloat16, and by a student of another size; it goes on on two replicas.
    flags = [
        *train_flags,
        "--objective=distill",
        f"--teacher={workdir}",
        "--precision=mixed_bfloat16",
        "--units=16",
        "--dropout=0",
        "--max_steps=12",
        "--checkpoint_every=9",
        "--keep_checkpoints=9",
        "--ema_momentum=0.5",
    ]
    assert run(tmp_path / "run", *flags) == 0
    whole = losses(tmp_path / "run")
    assert len(whole) == 12 and np.mean(whole[-3:]) < 0.8 * np.mean(whole[:3])
    # Nothing of the teacher is kept: the gates of its 24 units would be 96 wide.
    saved = tf.train.load_checkpoint(tmp_path / "run" / "checkpoints" / "12" / "weights")
    shapes = saved.get_variable_to_shape_map()
    widths = {width for shape in shapes.values() for width in shape}
    assert 64 in widths and 96 not in widths
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "12")
    assert run(tmp_path / "run", *flags, "--strategy=mirrored") == 0
    resumed = losses(tmp_path / "run")
    assert resumed[:9] == whole[:9]
    np.testing.assert_allclose(resumed[9:], whole[9:], rtol=0.02)
    capsys.readouterr()
    # Another teacher, and an encoder whose grid it does not read.
    assert run(tmp_path / "run", *flags, f"--teacher={tmp_path / 'run'}") == 1
    assert f"was trained with --teacher={workdir} (now " in capsys.readouterr().err
    assert run(tmp_path / "other", *flags, "--decoder=attention") == 1
    error = capsys.readouterr().err
    assert f"--teacher={workdir} has encoder " in error and error.count("\n") == 1
    assert "(1 x 24 features), this run " in error and "(16 x 24 features): give" in error
    assert f"--encoder={workdir / 'encoder.keras'}, and a --decoder that reads" in error
    assert not directory.is_run(tmp_path / "other")
