"""What a server answers, as Python values: captions, their runners-up, what became of each of many
images.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from imgcap import signature
from imgcap.errors import ServingError
from serving.client.errors import BadImage, RequestRefused
from serving.client.images import ImageSource
from serving.wire import tensors, wire_pb2

# The vocabulary splits "dog's" and "don't" before their endings, as `imgcap.data.vocabulary` says.
_PIECES = re.compile(r"n't\b|'[^']*|[^']+?(?=n't\b|'|$)")


@dataclass(frozen=True)
class Hypothesis:
    """One caption the search found.

    Attributes:
        text: the caption.
        score: length-normalised log-probability, at most 0.
        tokens: the word numbers, T of them, padded with 0.
        token_log_probs: a log-probability for each of `tokens`; empty where the server gives none.
        attention: for each of `tokens` how much the model looks at each of L positions of the
            image, row by row; empty where the server gives none.
    """

    text: str
    score: float
    tokens: tuple[int, ...] = ()
    token_log_probs: tuple[float, ...] = ()
    attention: tuple[tuple[float, ...], ...] = ()

    @property
    def words(self) -> tuple[tuple[str, float | None], ...]:
        """Each word of the text with its log-probability (None where the server gives none)."""
        log_probs = self.token_log_probs
        return tuple(
            (word, sum(log_probs[first:end]) if end <= len(log_probs) else None)
            for word, first, end in self._word_tokens()
        )

    @property
    def attended(self) -> tuple[tuple[str, tuple[float, ...]], ...]:
        """Each word of the text with where the model looked for it; empty where it does not
        attend.
        """
        return tuple(
            (word, self.attention[first])
            for word, first, _ in self._word_tokens()
            if first < len(self.attention)
        )

    def _word_tokens(self) -> Iterator[tuple[str, int, int]]:
        """Each word with its tokens from first to end: "dog's" was written as two."""
        first = 0
        for word in self.text.split():
            end = first + len(_PIECES.findall(word))
            yield word, first, end
            first = end


@dataclass(frozen=True)
class Caption(Hypothesis):
    """The answer for one image: the best caption, and where it comes from.

    Attributes:
        alternatives: the K best captions, best first; the first one is this caption.
        version: number of the model version that answered.
        seconds: from sending the image to having the caption, retries included.
    """

    alternatives: tuple[Hypothesis, ...] = ()
    version: int = 0
    seconds: float = 0.0


class Outcome(NamedTuple):
    """What became of one image of many.

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
        message: what went wrong with it; empty where nothing did.
    """

    version: int
    state: str
    message: str


def parse_caption(response: wire_pb2.PredictResponse, seconds: float) -> Caption:
    """The first row of an answer.

    Args:
        response: outputs as in `imgcap.signature`; all but `caption` and `score` may be missing.
        seconds: how long the answer took.

    Raises:
        BadImage: the row carries an error.
        RequestRefused: the answer is not a captioner's.
    """
    rows = {
        alias: tensors.to_array(response.outputs[alias])[0]
        for alias in _OUTPUTS
        if alias in response.outputs
    }
    if signature.CAPTION not in rows or signature.SCORE not in rows:
        raise RequestRefused(
            f"the model answers {', '.join(sorted(response.outputs))} and no caption: is it a "
            "captioner?"
        )
    if rows.get(signature.ERROR):
        raise BadImage(_text(rows[signature.ERROR]))
    found = _hypotheses(rows)
    return Caption(
        text=_text(rows[signature.CAPTION]),
        score=float(rows[signature.SCORE]),
        tokens=found[0].tokens,
        token_log_probs=found[0].token_log_probs,
        attention=found[0].attention,
        alternatives=found,
        version=response.model_spec.version.value,
        seconds=seconds,
    )


def parse_status(response: wire_pb2.GetModelStatusResponse) -> tuple[VersionStatus, ...]:
    """Every version of an answer, oldest first."""
    name = wire_pb2.ModelVersionStatus.State.Name
    return tuple(
        sorted(
            VersionStatus(entry.version, name(entry.state), entry.status.error_message)
            for entry in response.model_version_status
        )
    )


def _hypotheses(rows: dict[str, np.ndarray]) -> tuple[Hypothesis, ...]:
    texts = rows.get(signature.CAPTIONS, [rows[signature.CAPTION]])
    nothing = [()] * len(texts)
    return tuple(
        Hypothesis(
            _text(text),
            float(score),
            tuple(map(int, numbers)),
            tuple(map(float, log_probs)),
            tuple(tuple(map(float, weights)) for weights in attention),
        )
        for text, score, numbers, log_probs, attention in zip(
            texts,
            rows.get(signature.SCORES, [rows[signature.SCORE]]),
            rows.get(signature.TOKENS, nothing),
            rows.get(signature.TOKEN_LOG_PROBS, nothing),
            rows.get(signature.ATTENTION, nothing),
            strict=False,
        )
    )


def _text(value: bytes) -> str:
    return value.decode("utf-8", errors="replace")


_OUTPUTS = (
    signature.CAPTION,
    signature.SCORE,
    signature.CAPTIONS,
    signature.SCORES,
    signature.TOKENS,
    signature.TOKEN_LOG_PROBS,
    signature.ATTENTION,
    signature.ERROR,
)
