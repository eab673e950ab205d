"""The serving contract: names of the model, its signatures, their inputs and outputs.

Plain constants, imported by the export (which builds the signatures), by the client (which calls
them) and by the tests (which hold the two together). Importing this module imports nothing of the
project.

Shapes use the legend of the project: `B` images, `K` beams, `T` words, `L` image positions, `C`
channels.
"""

from typing import NamedTuple

MODEL_NAME = "imgcap"

SERVING_DEFAULT = "serving_default"
"""The signature of a request that names none: the same as DECODE."""

DECODE = "decode"
"""IMAGE_BYTES to captions by the search of the export, beam search if no other was asked for."""

DECODE_DETAILS = "decode_details"
"""IMAGE_BYTES to what DECODE gives, and beside it TOKENS, TOKEN_LOG_PROBS and, of a model that
attends, ATTENTION: a hundred times as many bytes.
"""

GREEDY = "greedy"
"""IMAGE_BYTES to captions by greedy search, the fastest."""

SAMPLE = "sample"
"""IMAGE_BYTES and SEED to captions that are drawn by chance."""

ENCODE = "encode"
"""IMAGE_BYTES to FEATURES, zeros in a row with an ERROR."""

DECODE_FEATURES = "decode_features"
"""FEATURES to captions, as DECODE."""

DESCRIBE = "describe"
"""QUERY to CARD."""

IMAGE_BYTES = "image_bytes"
"""string [B]: a whole encoded image file a row (JPEG, PNG, GIF, BMP or WebP)."""

SEED = "seed"
"""int32 [B]: of the draws for this row; an image and a seed always give the same captions."""

FEATURES = "features"
"""float32 [B, L, C]: the encoder's features of each position of the image."""

QUERY = "query"
"""string [B]: ignored; a signature without an input can't be batched by the server."""

CAPTION = "caption"
"""string [B]: the best caption, UTF-8."""

SCORE = "score"
"""float32 [B]: the length-normalised log-probability of `caption`, at most 0."""

CAPTIONS = "captions"
"""string [B, K]: the K best captions, best first; the first is `caption`. The best has the greatest
score or, if the export searches by minimum Bayes risk, the greatest expected CIDEr-D.
"""

SCORES = "scores"
"""float32 [B, K]: their scores; the first is `score`. They fall, unless the export searches by
minimum Bayes risk.
"""

CONFIDENCE = "confidence"
"""float32 [B, K]: for each of `captions` the calibrated probability that it is as good as a
person's, in [0, 1].
"""

TOKENS = "tokens"
"""int32 [B, K, T]: the word numbers of the K best captions, best first, 0 after the end token."""

TOKEN_LOG_PROBS = "token_log_probs"
"""float32 [B, K, T]: the log-probability of each word of `tokens`, 0 after the end token."""

ATTENTION = "attention"
"""float32 [B, K, T, L]: for each word of `tokens`, the attention weight of each position of the
image, row by row; only models that attend have it.
"""

ERROR = "error"
"""string [B]: why this row has no caption, such as "not an image"; empty if all is well."""

MISSING = "missing"
"""float32 [B]: share of the image's rows, at its lower end, that the file lacks; 0 if it is whole.
Only models that take cut-off JPEGs have it.
"""

CARD = "card"
"""string [B]: the model's card as one JSON object."""

TENSORS = {
    IMAGE_BYTES: ("string", "B"),
    SEED: ("int32", "B"),
    FEATURES: ("float32", "B L C"),
    QUERY: ("string", "B"),
    CAPTION: ("string", "B"),
    SCORE: ("float32", "B"),
    CAPTIONS: ("string", "B K"),
    SCORES: ("float32", "B K"),
    CONFIDENCE: ("float32", "B K"),
    TOKENS: ("int32", "B K T"),
    TOKEN_LOG_PROBS: ("float32", "B K T"),
    ATTENTION: ("float32", "B K T L"),
    ERROR: ("string", "B"),
    MISSING: ("float32", "B"),
    CARD: ("string", "B"),
}
"""The dtype and the axes of every input and output; B varies from call to call, a model fixes the
others.
"""

_CAPTIONED = (CAPTION, SCORE, CAPTIONS, SCORES, ERROR)
_DETAILS = (TOKENS, TOKEN_LOG_PROBS)


class Signature(NamedTuple):
    """One function that is served.

    Attributes:
        inputs: names of its inputs, each a tensor of as many rows.
        outputs: names of its outputs, of as many rows too.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def make_signatures(
    *, attends: bool, confident: bool, in_part: bool = False
) -> dict[str, Signature]:
    """The inputs and the outputs of every signature.

    Args:
        attends: whether the model attends to positions, and so gives ATTENTION.
        confident: whether the model is calibrated, and so gives CONFIDENCE.
        in_part: whether the model takes cut-off JPEGs, and so gives MISSING.

    Returns:
        Name to signature.
    """
    found = (*_CAPTIONED, *[CONFIDENCE] * confident)
    missing = [MISSING] * in_part
    captioned = (*found, *missing)
    detailed = (*captioned, *_DETAILS, *[ATTENTION] * attends)
    return {
        SERVING_DEFAULT: Signature((IMAGE_BYTES,), captioned),
        DECODE: Signature((IMAGE_BYTES,), captioned),
        DECODE_DETAILS: Signature((IMAGE_BYTES,), detailed),
        GREEDY: Signature((IMAGE_BYTES,), captioned),
        SAMPLE: Signature((IMAGE_BYTES, SEED), captioned),
        ENCODE: Signature((IMAGE_BYTES,), (FEATURES, ERROR, *missing)),
        DECODE_FEATURES: Signature((FEATURES,), found),
        DESCRIBE: Signature((QUERY,), (CARD,)),
    }


BATCH_SIZES = (1, 2, 4, 8)
"""Sizes that a server pads batches to, rising, as in serving/deployment/batching.config; an export
is warmed up for these.
"""


def too_many_rows(alias: str, rows: int | str, max_batch: int) -> str:
    """Says that a request has more rows than a model takes.

    Args:
        alias: the input.
        rows: how many it has.
        max_batch: how many it may have.
    """
    return f"{alias} has {rows} rows, this model takes at most {max_batch} at a time: send fewer"
