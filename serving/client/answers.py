"""A server's answers as Python values: captions with their runners-up, and versions' states."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from imgcap.config.prepare import CHARACTER
from imgcap.data.text.tokenisation import normalise, separate_characters
from imgcap.data.text.vocabulary import END, PAD
from imgcap.errors import ServingError
from imgcap.signature import (
    ATTENTION,
    CAPTION,
    CAPTIONS,
    CARD,
    CONFIDENCE,
    ERROR,
    MISSING,
    SCORE,
    SCORES,
    TENSORS,
    TOKEN_LOG_PROBS,
    TOKENS,
)
from serving.client.errors import BadImage, RequestRefused
from serving.client.images import ImageSource
from serving.wire import wire_pb2
from serving.wire.tensors import signature_names, to_array


@dataclass(frozen=True)
class Hypothesis:
    """One caption the search found.

    Attributes:
        text: the caption.
        score: length-normalised log-probability, at most 0.
        tokens: the word numbers, T of them, padded with 0.
        token_log_probs: a log-probability for each of `tokens`; empty if the server gives none.
        attention: for each of `tokens` how much the model looks at each of L positions of the
            image, row by row; empty if the server gives none.
        confidence: the calibrated probability that the caption is as good as a person's, in
            [0, 1]; None if the server gives none.
    """

    text: str
    score: float
    tokens: tuple[int, ...] = ()
    token_log_probs: tuple[float, ...] = ()
    attention: tuple[tuple[float, ...], ...] = ()
    confidence: float | None = None

    @property
    def words(self) -> tuple[tuple[str, float | None], ...]:
        """Each word of the text with its log-probability (None if the server gives none)."""
        log_probs = self.token_log_probs
        return tuple(
            (word, sum(log_probs[first:end]) if end <= len(log_probs) else None)
            for word, first, end in self._word_tokens()
        )

    @property
    def attended(self) -> tuple[tuple[str, tuple[float, ...]], ...]:
        """Each word of the text with the attention of its first token; empty without attention."""
        return tuple(
            (word, self.attention[first])
            for word, first, _ in self._word_tokens()
            if first < len(self.attention)
        )

    def _word_tokens(self) -> Iterator[tuple[str, int, int]]:
        """Each word with its tokens from first to end: "dog's" was written as two."""
        first = 0
        text = separate_characters(self.text) if self._of_characters() else self.text
        for word in text.split():
            end = first + max(1, len(normalise(word)))
            yield word, first, end
            first = end

    def _of_characters(self) -> bool:
        """Whether each character of a script without spaces is a token, by the number of tokens."""
        if self.text.isascii():
            return False
        written = sum(token not in (PAD, END) for token in self.tokens)
        return len(normalise(self.text)) < written == len(normalise(self.text, CHARACTER))


@dataclass(frozen=True)
class Caption(Hypothesis):
    """The answer for one image: its best caption, the runners-up, and the version that answered.

    Attributes:
        alternatives: the K best captions, best first; the first one is this caption.
        version: number of the model version that answered.
        seconds: time from sending the image to having the caption, retries included.
        missing: share of the image's rows, at its lower end, that its file lacks.
    """

    alternatives: tuple[Hypothesis, ...] = ()
    version: int = 0
    seconds: float = 0.0
    missing: float = 0.0


class Outcome(NamedTuple):
    """The answer or the error of one image of many.

    Attributes:
        source: the image as it was given.
        caption: its caption, or None.
        error: why there is none, or None.
    """

    source: ImageSource
    caption: Caption | None
    error: ServingError | None


class VersionStatus(NamedTuple):
    """One version of a model on the server.

    Attributes:
        version: its number.
        state: START, LOADING, AVAILABLE, UNLOADING or END.
        message: what went wrong with it; empty if nothing did.
    """

    version: int
    state: str
    message: str


def parse_caption(response: wire_pb2.PredictResponse, seconds: float) -> Caption:
    """Reads the first row of an answer.

    Args:
        response: outputs as in `imgcap.signature`; all but `caption` and `score` may be missing.
        seconds: how long the answer took.

    Raises:
        BadImage: the row carries an error.
        RequestRefused: the answer is not a captioner's.
    """
    rows = {alias: _first_row(response, alias) for alias in _OUTPUTS if alias in response.outputs}
    if CAPTION not in rows or SCORE not in rows:
        raise RequestRefused(
            f"the model answers {', '.join(sorted(response.outputs))} and no caption: is it a "
            "captioner?"
        )
    return parse_row(rows, response.model_spec.version.value, seconds)


def parse_row(rows: Mapping[str, Any], version: int, seconds: float) -> Caption:
    """Makes a caption of the outputs for one image.

    Args:
        rows: each output without its axis B, by the names in `imgcap.signature`; all but `caption`
            and `score` may be missing.
        version: of the model that answered.
        seconds: how long the answer took.

    Raises:
        BadImage: there is an error in place of a caption.
    """
    if rows.get(ERROR):
        raise BadImage(_text(rows[ERROR]))
    found = _hypotheses(rows)
    return Caption(
        text=_text(rows[CAPTION]),
        score=float(rows[SCORE]),
        tokens=found[0].tokens,
        token_log_probs=found[0].token_log_probs,
        attention=found[0].attention,
        confidence=found[0].confidence,
        alternatives=found,
        version=version,
        seconds=seconds,
        missing=float(rows.get(MISSING, 0.0)),
    )


def parse_status(response: wire_pb2.GetModelStatusResponse) -> tuple[VersionStatus, ...]:
    """Reads the versions of an answer, oldest first."""
    return tuple(
        sorted(
            VersionStatus(entry.version, _state_name(entry.state), entry.status.error_message)
            for entry in response.model_version_status
        )
    )


def parse_card(response: wire_pb2.PredictResponse) -> dict[str, Any]:
    """Reads a model's card.

    Raises:
        RequestRefused: the answer holds none.
    """
    try:
        card = json.loads(_first_row(response, CARD))
    except (ValueError, RecursionError):
        card = None
    if not isinstance(card, dict):
        raise RequestRefused(f"the server's output {CARD} is not a model's card")
    return card


def parse_signatures(response: wire_pb2.GetModelMetadataResponse) -> tuple[str, ...]:
    """Reads the names of a model's signatures, sorted.

    Raises:
        RequestRefused: the answer holds none.
    """
    try:
        return signature_names(response)
    except ValueError as error:
        raise RequestRefused(f"the server's answer cannot be read ({error})") from None


def _first_row(response: wire_pb2.PredictResponse, alias: str) -> Any:
    """The first row of an output; refuses one that is not of the type and axes of its name."""
    try:
        array = to_array(response.outputs[alias])
    except ValueError as error:
        raise RequestRefused(f"the server's output {alias} cannot be read ({error})") from None
    dtype, axes = TENSORS[alias]
    expected = np.dtype(object if dtype == "string" else dtype)
    if array.dtype != expected or array.ndim != len(axes.split()) or not array.size:
        raise RequestRefused(
            f"the server's output {alias} is {array.dtype} of the shape {list(array.shape)}, not "
            f"{dtype} [{axes.replace(' ', ', ')}]: is the model a captioner?"
        )
    if alias == ATTENTION and not np.isfinite(array).all():
        raise RequestRefused(f"the server's output {alias} holds values that are no numbers")
    return array[0]


def _state_name(state: int) -> str:
    """What a version's state is called; a state of a later server goes by its number."""
    names = wire_pb2.ModelVersionStatus.State
    return names.Name(state) if state in names.values() else str(state)


def _hypotheses(rows: Mapping[str, Any]) -> tuple[Hypothesis, ...]:
    """The row's captions, best first; only the best if the server gives no others."""
    texts = rows.get(CAPTIONS, [rows[CAPTION]])
    nothing = [()] * len(texts)
    return tuple(
        Hypothesis(
            _text(text),
            float(score),
            tuple(map(int, numbers)),
            tuple(map(float, log_probs)),
            tuple(tuple(map(float, weights)) for weights in attention),
            None if confidence is None else float(confidence),
        )
        for text, score, numbers, log_probs, attention, confidence in zip(
            texts,
            rows.get(SCORES, [rows[SCORE]]),
            rows.get(TOKENS, nothing),
            rows.get(TOKEN_LOG_PROBS, nothing),
            rows.get(ATTENTION, nothing),
            rows.get(CONFIDENCE, [None] * len(texts)),
            strict=False,
        )
    )


def _text(value: bytes) -> str:
    return value.decode("utf-8", errors="replace")


_OUTPUTS = (
    CAPTION,
    SCORE,
    CAPTIONS,
    SCORES,
    TOKENS,
    TOKEN_LOG_PROBS,
    ATTENTION,
    CONFIDENCE,
    ERROR,
    MISSING,
)
