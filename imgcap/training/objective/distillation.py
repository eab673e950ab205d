"""The teacher of a distilled run: a trained captioner whose word distributions are learnt
(Hinton et al. 2015; Kim & Rush 2016, word-level).
"""

import hashlib
from pathlib import Path

import tensorflow as tf

from imgcap.data.text.vocabulary import Vocabulary
from imgcap.errors import RunError
from imgcap.files.checked import read_checked, write_checked
from imgcap.model.decoders import Decoder, Ensemble
from imgcap.model.encoder import Encoder
from imgcap.model.precision import computing_in
from imgcap.model.rows import repeat_rows
from imgcap.run.directory import ENCODER_FILE, load_run
from imgcap.run.pretrained import resolve_run
from imgcap.run.restore import load_captioner

TEACHER = "teacher.json"
NAME_A_TEACHER = "give --teacher a run directory of imgcap-train or imgcap-ensemble"


class Teacher:
    """A decoder, or an ensemble of them, that says how likely each word is in its eyes.

    It is no part of the run's checkpoints, optimizer or moving average; a resumed run loads it
    anew.
    """

    def __init__(self, decoder: Decoder | Ensemble, precision: str) -> None:
        """Takes a decoder that is trained.

        Args:
            decoder: of the vocabulary and the encoder of the run.
            precision: name of the Keras policy in which it computes: the run's own, since its
                rounding is far below what the student could learn. Logits are float32.
        """
        self._decoder, self._precision = decoder, precision

    def logits(self, features: tf.Tensor, tokens: tf.Tensor, captions: tf.Tensor) -> tf.Tensor:
        """Predicts every word of captions from the true words before it, without dropout.

        Args:
            features: float [B, L, C].
            tokens: int32 [B * N, T], start token first.
            captions: int32 [], N, captions an image.

        Returns:
            float32 [B * N, T, V], through which no gradient flows.
        """
        with computing_in(self._precision, self._decoder):
            start = self._decoder.begin(tf.cast(features, tf.float32))
            forced = self._decoder.teacher_forcing(tokens, repeat_rows(start, captions))
        return tf.stop_gradient(forced.logits)

    def fingerprint(self) -> str:
        """A hash of all weights, by which a resumed run knows its teacher again."""
        digest = hashlib.sha256()
        for variable in self._decoder.variables:
            digest.update(f"{variable.shape}".encode())
            digest.update(variable.numpy().tobytes())
        return digest.hexdigest()[:16]


def refuse_other_teacher_words(name: str, vocabulary: Vocabulary) -> None:
    """Raises RunError unless a teacher numbers words as the data does, and is a run at all.

    Args:
        name: the teacher, as it was given.
        vocabulary: of the data.
    """
    _, known = load_run(resolve_run(name), NAME_A_TEACHER)
    ours, theirs = (f"{one.fingerprint} ({one.tokenizer})" for one in (vocabulary, known))
    if ours != theirs:
        raise RunError(
            f"--teacher={name} has vocabulary {theirs}, --data_dir {ours}: give the --data_dir it "
            f"was trained on, or prepare data by imgcap-prepare --vocabulary={name}"
        )


def load_teacher(name: str, encoder: Encoder, precision: str) -> Teacher:
    """Loads a teacher with the weights of its best checkpoint, under the strategy in scope.

    Args:
        name: a run directory, or a captioner of the package.
        encoder: of the run that learns; its features are the teacher's too.
        precision: in which the teacher computes.

    Returns:
        The teacher.

    Raises:
        RunError: the run is broken, or has another encoder.
    """
    captioner, config = load_captioner(resolve_run(name))
    ours, theirs = encoder.fingerprint(), captioner.encoder.fingerprint()
    if ours != theirs:
        remedy = _give_its_encoder(name, tuned=bool(config.train.finetune_blocks))
        raise RunError(
            f"--teacher={name} has encoder {theirs} ({_shape(captioner.encoder)}), this run {ours} "
            f"({_shape(encoder)}): {remedy}"
        )
    captioner.decoder.trainable = False
    return Teacher(captioner.decoder, precision)


def _shape(encoder: Encoder) -> str:
    positions, channels = encoder.features_shape
    return f"{positions} x {channels} features"


def _give_its_encoder(name: str, *, tuned: bool) -> str:
    """Says how a run gets a teacher's encoder.

    Args:
        name: the teacher, as it was given.
        tuned: whether its weights are in its checkpoints, since they were trained.
    """
    file = resolve_run(name) / ENCODER_FILE
    if tuned:
        return (
            f"pack it by imgcap-pack {name} --output_dir=PACKED, and give --teacher=PACKED "
            f"--encoder=PACKED/{ENCODER_FILE}"
        )
    given = f"--encoder={file}" if file.exists() else "the --encoder and --encoder_weights it had"
    return f"give {given}, and a --decoder that reads the same features"


def keep_teacher(workdir: Path, name: str, teacher: Teacher) -> None:
    """Writes down which teacher a run has, or checks that it is still the one it began with.

    Args:
        workdir: the run directory.
        name: the teacher, as it was given.
        teacher: loaded from there.

    Raises:
        RunError: the run began with other weights.
    """
    path, weights = workdir / TEACHER, teacher.fingerprint()
    if not path.exists():
        write_checked(path, {"teacher": name, "weights": weights})
        return
    found = read_checked(path, RunError, "bring the old file back, or give a new --workdir")
    if found.get("weights") != weights:
        raise RunError(
            f"{path}: the run's teacher was {found.get('teacher')} with weights "
            f"{found.get('weights')}, --teacher={name} has weights {weights} now: give the teacher "
            "as it was, or a new --workdir"
        )
