"""Images → words: encoder, decoder, search and vocabulary as one graph."""

import keras
import tensorflow as tf

from imgcap.config import DecodeConfig, ModelConfig
from imgcap.data.text.tokenisation import edges
from imgcap.data.text.vocabulary import END, PAD, START, Vocabulary
from imgcap.model import search
from imgcap.model.decoders import DECODERS, Decoder, Ensemble, Start, make_decoder
from imgcap.model.encoder import Encoder, make_encoder
from imgcap.model.rows import repeat_rows
from imgcap.model.search.cider_reward import CiderReward


class Captioner:
    """An encoder and the decoder that was trained on it, or several, with their vocabulary.

    Attributes:
        encoder: images to features.
        decoder: features to logits; several side by side if the captioner is an ensemble.
        vocabulary: numbers to words.
        reward: CIDEr-D by the document frequencies of the training images, by which a search may
            choose; None if they are unknown.
    """

    def __init__(
        self, encoder: Encoder, decoder: Decoder | Ensemble, vocabulary: Vocabulary
    ) -> None:
        """Joins the parts.

        Args:
            encoder: images to features.
            decoder: features to logits; several side by side if the captioner is an ensemble.
            vocabulary: numbers to words.
        """
        self.encoder, self.decoder, self.vocabulary = encoder, decoder, vocabulary
        self.reward: CiderReward | None = None

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """The variables that training changes, those of the decoder first."""
        return [*self.decoder.trainable_variables, *self.encoder.network.trainable_variables]

    def caption_features(
        self, features: tf.Tensor, options: DecodeConfig, seeds: tf.Tensor | None = None
    ) -> search.Captions:
        """Searches the captions of encoded images.

        Args:
            features: float [B, L, C].
            options: the search.
            seeds: int32 [B], of the draws if the search samples; None takes the options' seed.

        Returns:
            K captions an image, best first.

        Raises:
            RunError: the search is by minimum Bayes risk, and there is no `reward`.
        """
        start = self.decoder.begin(tf.cast(features, tf.float32))

        def bind(copies: int) -> search.Step:
            return self.bind_step(start, copies)

        return search.find_captions(bind, start.state, options, seeds, self.reward)

    def bind_step(self, start: Start, copies: int) -> search.Step:
        """Binds the decoder's step to the memory of images, as a search calls it.

        Args:
            start: of B images.
            copies: rows of an image in the search; they stand side by side.

        Returns:
            The step, a function of tokens int32 [B * copies] and state.
        """
        memory = repeat_rows(start.memory, copies)

        def step(tokens: tf.Tensor, state: search.State) -> tuple[tf.Tensor, search.State]:
            return self.decoder.step(tokens, memory, state)

        return step

    @property
    def attends(self) -> bool:
        """Whether the decoder attends to positions, so that `attention_weights` are not empty."""
        return not self.decoder.pooled

    def attention_weights(self, features: tf.Tensor, tokens: tf.Tensor) -> tf.Tensor:
        """Weights of all positions for each word of the captions.

        They follow from the words alone, so no search has to carry them along.

        Args:
            features: float [B, L, C].
            tokens: int32 [B, K, T], from `caption_features`.

        Returns:
            float32 [B, K, T, L], 0 after the end.
        """
        copies, length = tf.shape(tokens)[1], tokens.shape[2]
        start = self.decoder.begin(tf.cast(features, tf.float32))
        start = repeat_rows(start, copies)
        words = tf.reshape(tokens, [-1, length])
        read = tf.concat([tf.fill([tf.shape(words)[0], 1], START), words[:, :-1]], axis=1)
        real = tf.cast(words != PAD, tf.float32)[:, :, tf.newaxis]
        weights = self.decoder.attention_weights(read, start) * real  # -> [B * K, T, L]
        return tf.reshape(weights, [-1, copies, length, weights.shape[2]])

    def to_text(self, tokens: tf.Tensor) -> tf.Tensor:
        """Turns word numbers into captions, in the graph; equals `Vocabulary.decode`.

        Args:
            tokens: int32 [..., T].

        Returns:
            string [...].
        """
        words = tf.constant(self.vocabulary.words)
        real = (tokens != PAD) & (tokens != END)
        spaces = tf.where(self._touches_word_before(tokens), "", " ")
        spaced = tf.where(real, tf.strings.join([spaces, tf.gather(words, tokens)]), "")
        return tf.strings.strip(tf.strings.reduce_join(spaced, axis=-1))

    def _touches_word_before(self, tokens: tf.Tensor) -> tf.Tensor:
        """Whether no space is between a word and the one before it: bool [..., T]."""
        vocabulary = self.vocabulary
        all_edges = (edges(word, vocabulary.tokenizer) for word in vocabulary.words)
        clings_before, clings_after, meets_before, meets_after = map(
            tf.constant, zip(*all_edges, strict=True)
        )
        after = tokens[..., 1:]
        before = tokens[..., :-1]
        touches = (
            tf.gather(clings_after, before)
            | tf.gather(clings_before, after)
            | (tf.gather(meets_after, before) & tf.gather(meets_before, after))
        )
        return tf.concat([tf.zeros_like(tokens[..., :1], tf.bool), touches], axis=-1)


def make_captioner(
    model: ModelConfig, vocabulary: Vocabulary, *, weights: str | None = None
) -> Captioner:
    """Builds a captioner with new decoder weights.

    Args:
        model: settings of encoder and decoder.
        vocabulary: of the data.
        weights: of the encoder, in place of those that `model` names; 'none' if a checkpoint is
            loaded next.

    Returns:
        The captioner, under the precision policy that is in force.

    Raises:
        ConfigError: an encoder or its weights cannot be loaded.
    """
    return join_captioner(make_captioner_encoder(model, weights=weights), model, vocabulary)


def make_captioner_encoder(model: ModelConfig, *, weights: str | None = None) -> Encoder:
    """Builds the encoder that a captioner's decoder needs: pooled features, or the grid.

    Args:
        model: settings of encoder and decoder.
        weights: in place of those that `model` names; 'none' if a checkpoint is loaded next.

    Returns:
        The encoder, under the precision policy that is in force.

    Raises:
        ConfigError: the encoder or its weights cannot be loaded.
    """
    return make_encoder(model, pooled=DECODERS[model.decoder].pooled, weights=weights)


def join_captioner(encoder: Encoder, model: ModelConfig, vocabulary: Vocabulary) -> Captioner:
    """Builds a captioner with new decoder weights on a given encoder.

    Args:
        encoder: images to features.
        model: settings of the decoder.
        vocabulary: of the data.

    Returns:
        The captioner, its decoder under the precision policy that is in force.
    """
    return Captioner(
        encoder, make_decoder(model, len(vocabulary), encoder.features_shape), vocabulary
    )
