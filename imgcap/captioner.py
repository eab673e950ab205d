"""Images → words: encoder, decoder, search and vocabulary as one graph. Evaluation and export both call it."""

from pathlib import Path

import keras
import tensorflow as tf

from imgcap import checkpoint, search
from imgcap.config import Config, DecodeConfig, load_config
from imgcap.decoders import DECODERS, Decoder, Start, make_decoder
from imgcap.encoder import Encoder, make_encoder
from imgcap.vocabulary import END, GLUE_PATTERN, GLUE_REWRITE, PAD, START, Vocabulary


class Captioner:
    """An encoder and a decoder that were trained together, with their vocabulary."""

    def __init__(self, encoder: Encoder, decoder: Decoder, vocabulary: Vocabulary) -> None:
        """Joins the parts.

        Args:
            encoder: images to features.
            decoder: features to logits.
            vocabulary: numbers to words.
        """
        self.encoder, self.decoder, self.vocabulary = encoder, decoder, vocabulary

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """What training changes, decoder first."""
        return [*self.decoder.trainable_variables, *self.encoder.network.trainable_variables]

    def caption_features(self, features: tf.Tensor, options: DecodeConfig) -> search.Captions:
        """Searches the captions of encoded images.

        Args:
            features: float [B, L, C].
            options: the search.

        Returns:
            K captions an image, best first.
        """
        start = self.decoder.begin(tf.cast(features, tf.float32))
        find = search.greedy if options.beam_width == 1 else search.beam
        return find(self.bind_step(start, options.beam_width), start.state, options)

    def bind_step(self, start: Start, copies: int) -> search.Step:
        """The decoder's step as a search takes it.

        Args:
            start: of B images.
            copies: rows of an image in the search; they are neighbours.

        Returns:
            A function of (tokens int32 [B copies], state).
        """
        memory = tf.nest.map_structure(lambda part: tf.repeat(part, copies, axis=0), start.memory)

        def step(tokens: tf.Tensor, state: search.State) -> tuple[tf.Tensor, search.State]:
            return self.decoder.step(tokens, memory, state)

        return step

    @property
    def attends(self) -> bool:
        """Whether the decoder looks at positions, so that `attention` has something to show."""
        return not self.decoder.pooled

    def attention(self, features: tf.Tensor, tokens: tf.Tensor) -> tf.Tensor:
        """Where the decoder looked for each word of its captions. A function of the words alone, so that no search
        has to carry it along.

        Args:
            features: float [B, L, C].
            tokens: int32 [B, K, T], from `caption_features`.

        Returns:
            float32 [B, K, T, L], 0 behind the end.
        """
        copies, length = tf.shape(tokens)[1], tokens.shape[2]
        start = self.decoder.begin(tf.cast(features, tf.float32))
        start = tf.nest.map_structure(lambda part: tf.repeat(part, copies, axis=0), start)
        words = tf.reshape(tokens, [-1, length])
        read = tf.concat([tf.fill([tf.shape(words)[0], 1], START), words[:, :-1]], axis=1)
        shares = self.decoder.attention(read, start) * tf.cast(words != PAD, tf.float32)[:, :, tf.newaxis]
        return tf.reshape(shares, [-1, copies, length, shares.shape[2]])

    def to_text(self, tokens: tf.Tensor) -> tf.Tensor:
        """Word numbers to captions, in the graph; equals `Vocabulary.decode`.

        Args:
            tokens: int32 [..., T].

        Returns:
            string [...].
        """
        words = tf.constant(self.vocabulary.words)
        real = (tokens != PAD) & (tokens != END)
        spaced = tf.where(real, tf.strings.join([" ", tf.gather(words, tokens)]), "")
        text = tf.strings.strip(tf.strings.reduce_join(spaced, axis=-1))
        return tf.strings.regex_replace(text, GLUE_PATTERN, GLUE_REWRITE)


def make_captioner(config: Config, vocabulary: Vocabulary, *, weights: str | None = None) -> Captioner:
    """Builds a captioner with new decoder weights.

    Args:
        config: of encoder and decoder.
        vocabulary: of the data.
        weights: of the encoder, in place of those the config names; 'none' where a checkpoint follows.

    Returns:
        The captioner, under the precision policy that is in force.

    Raises:
        ConfigError: an encoder or its weights can't be had.
    """
    return _join(_make_encoder(config, weights), config, vocabulary)


def load_captioner(workdir: Path) -> tuple[Captioner, Config]:
    """Reads the captioner of a run at its best checkpoint; no training flag is asked for again.

    The encoder computes in the run's precision (a .keras file's layers in their own), the decoder in float32: a search
    follows the rounding of bfloat16 where two words are about as likely, and the caption of an image would hang on the
    batch and the machine that it was encoded on. For a search's small products float32 is no slower.

    Args:
        workdir: the run directory.

    Returns:
        The captioner and the run's config.

    Raises:
        RunError: `workdir` is no run directory or has no whole checkpoint.
    """
    config, vocabulary = checkpoint.load_run(workdir)
    keras.config.set_dtype_policy(config.train.precision)
    encoder = _make_encoder(config, "none")
    keras.config.set_dtype_policy("float32")
    captioner = _join(encoder, config, vocabulary)
    restore_best(workdir, captioner)
    return captioner, config


def _make_encoder(config: Config, weights: str | None) -> Encoder:
    return make_encoder(config.model, pooled=DECODERS[config.model.decoder].pooled, weights=weights)


def _join(encoder: Encoder, config: Config, vocabulary: Vocabulary) -> Captioner:
    return Captioner(encoder, make_decoder(config.model, len(vocabulary), encoder.features_shape), vocabulary)


def restore_best(workdir: Path, captioner: Captioner) -> None:
    """Reads the weights of a run's best checkpoint into a captioner of the same config.

    Args:
        workdir: the run directory.
        captioner: changed in place.

    Raises:
        RunError: there is no whole checkpoint, or it does not fit.
    """
    restore_step(workdir, captioner, checkpoint.best_step(workdir))


def restore_step(workdir: Path, captioner: Captioner, step: int) -> None:
    """Reads the weights of one checkpoint of a run, the moving average where there is one.

    Args:
        workdir: the run directory.
        captioner: changed in place.
        step: whose checkpoint.

    Raises:
        RunError: there is no such checkpoint, or it does not fit.
    """
    settings = load_config(workdir).train
    encoder = [variable.value for variable in captioner.encoder.variables]
    wanted = {"decoder": [variable.value for variable in captioner.decoder.variables]}
    if settings.finetune_blocks:
        wanted["encoder"] = encoder
    else:
        checkpoint.restore_encoder(workdir, encoder)
    checkpoint.restore(workdir, step, wanted)
    if settings.ema_momentum:
        captioner.encoder.set_trainable(settings.finetune_blocks, settings.batch_norm == "update")
        checkpoint.restore(workdir, step, {"averaged": [variable.value for variable in captioner.trainable_variables]})
