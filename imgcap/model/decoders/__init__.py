"""The LSTM decoders, which turn the features of an image into words."""

import tensorflow as tf

from imgcap.config import ModelConfig
from imgcap.model.decoders.attention import Adaptive, Attention
from imgcap.model.decoders.base import Decoder, Forced, Start
from imgcap.model.decoders.ensemble import Ensemble
from imgcap.model.decoders.inject import InjectAndMerge, ParInject, PreInject

DECODERS: dict[str, type[Decoder]] = {
    "pre_inject": PreInject,
    "par_inject": ParInject,
    "inject_and_merge": InjectAndMerge,
    "attention": Attention,
    "adaptive": Adaptive,
}

__all__ = ["DECODERS", "Decoder", "Ensemble", "Forced", "Start", "make_decoder"]


def make_decoder(
    config: ModelConfig, vocabulary_size: int, features_shape: tuple[int, int]
) -> Decoder:
    """Builds a decoder with all its variables.

    Args:
        config: names the decoder and its sizes.
        vocabulary_size: V.
        features_shape: (L, C).

    Returns:
        The decoder, weights drawn.
    """
    decoder = DECODERS[config.decoder](config, vocabulary_size, features_shape[0])
    # One pass over an image of zeros and one word makes every layer's variables, in one order.
    decoder.teacher_forcing(
        tf.ones([1, 1], tf.int32), decoder.begin(tf.zeros([1, *features_shape]))
    )
    return decoder
