"""Widening a trained decoder by new words, which start as the mean of the old ones."""

import numpy as np

from imgcap.config import ModelConfig
from imgcap.data.text.vocabulary import Vocabulary
from imgcap.errors import DataError
from imgcap.model.captioner import Captioner, join_captioner
from imgcap.model.decoders import Decoder


def refuse_other_words(base: str, known: Vocabulary, vocabulary: Vocabulary) -> None:
    """Raises DataError unless a run's words are the first of the data's, of the same tokenizer.

    Args:
        base: the run, as it was given.
        known: its vocabulary.
        vocabulary: of the data.
    """
    if vocabulary.tokenizer != known.tokenizer:
        raise DataError(
            f"--finetune_from={base} has captions split by {known.tokenizer}, --data_dir by "
            f"{vocabulary.tokenizer}: prepare the data by imgcap-prepare --vocabulary={base} "
            f"--tokenizer={known.tokenizer}"
        )
    if vocabulary.starts_with(known):
        return
    pairs = zip(known.words, vocabulary.words, strict=False)
    line = next(
        (line for line, (ours, theirs) in enumerate(pairs, start=1) if ours != theirs),
        len(vocabulary) + 1,
    )
    found = repr(vocabulary.words[line - 1]) if line <= len(vocabulary) else "nothing"
    raise DataError(
        f"--finetune_from={base} has vocabulary {known.fingerprint}, --data_dir "
        f"{vocabulary.fingerprint}, which does not begin with its words (line {line} of vocab.txt: "
        f"{found} in place of {known.words[line - 1]!r}): give the data that run was trained on, "
        f"or prepare new data by imgcap-prepare --vocabulary={base}"
    )


def extend_captioner(captioner: Captioner, model: ModelConfig, vocabulary: Vocabulary) -> Captioner:
    """Makes a captioner that knows more words, from a trained one.

    Args:
        captioner: with trained weights.
        model: its settings.
        vocabulary: its words, then the new ones.

    Returns:
        A captioner on the same encoder; for the words of the old one its logits are those of the
        old one.
    """
    extended = join_captioner(captioner.encoder, model, vocabulary)
    extend_decoder(captioner.decoder, extended.decoder)
    return extended


def extend_decoder(old: Decoder, new: Decoder) -> None:
    """Gives a decoder the weights of one that knows fewer words; new words start as the mean.

    Embedding, column of the output layer and bias of a new word are the means of those of all old
    words. So its logit is the mean of theirs in every state, and its probability the geometric mean
    of theirs: at most 1/V, and far below a common word's.

    Args:
        old: with trained weights, V words.
        new: of the same settings, with more words; changed in place.
    """
    for source, target in zip(old.variables, new.variables, strict=True):
        target.assign(_extend(source.numpy(), tuple(target.shape)))


def _extend(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Lengthens the one axis that is too short by copies of the mean along it."""
    for axis, length in enumerate(shape):
        missing = length - values.shape[axis]
        if missing:
            mean = values.mean(axis=axis, keepdims=True)
            values = np.concatenate([values, np.repeat(mean, missing, axis=axis)], axis=axis)
    return values
