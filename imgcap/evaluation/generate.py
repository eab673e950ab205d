"""Captioning a split: every image once, however many replicas share the work."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from imgcap.config import DecodeConfig
from imgcap.data.batches import EvaluationBatch
from imgcap.data.shards import Reference
from imgcap.host.progress import Progress
from imgcap.model.captioner import Captioner
from imgcap.model.confidence import Confidence
from imgcap.model.precision import computing_in

IMAGES_AT_ONCE = 32
"""Images in a batch of evaluation."""

CaptionStep = Callable[[EvaluationBatch], tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]]
"""A batch -> number int64 [B], tokens int32 [B, K, T], scores and confidences float32 [B, K]."""


class Generated(NamedTuple):
    """Captions of the N images of a split, in its order.

    Attributes:
        tokens: int32 [N, K, T].
        scores: float32 [N, K].
        confidences: float32 [N, K], in [0, 1]; zeros if the captioner is not calibrated.
    """

    tokens: np.ndarray
    scores: np.ndarray
    confidences: np.ndarray


class CaptionPairs(NamedTuple):
    """Captions of images beside their references, as the scores take them.

    Attributes:
        candidates: image to its caption, as text.
        references: image to its true captions, as text.
    """

    candidates: dict[str, str]
    references: dict[str, tuple[str, ...]]


def make_caption_step(
    captioner: Captioner,
    strategy: tf.distribute.Strategy,
    options: DecodeConfig,
    *,
    encoded: bool,
    confidence: Confidence | None = None,
) -> CaptionStep:
    """Makes the graph that captions one global batch.

    It is made once for a run, since tracing a deep encoder takes longer than captioning a split.
    The search computes in float32 whatever the precision of the run, as it will in evaluation and
    export, so that checkpoints are chosen by the captions that they will give.

    Args:
        captioner: what captions.
        strategy: that `captioner` was built under.
        options: the search.
        encoded: whether the inputs are features already.
        confidence: fitted to the captioner, if it is calibrated.

    Returns:
        A function of a batch that gives number, tokens, scores and confidences of the rows of all
        replicas.
    """

    def caption_replica(batch: EvaluationBatch) -> tuple[tf.Tensor, ...]:
        features = batch.inputs if encoded else captioner.encoder(batch.inputs)
        with computing_in("float32", captioner.decoder):
            found = captioner.caption_features(features, options)
        sure = confidence(features, found) if confidence else tf.zeros_like(found.scores)
        return batch.number, found.tokens, found.scores, sure

    # autograph=False, here and everywhere: no control flow needs converting, and reading the
    # sources for it takes longer than tracing.
    @tf.function(reduce_retracing=True, autograph=False)
    def caption_batch(batch: EvaluationBatch) -> tuple[tf.Tensor, ...]:
        per_replica = strategy.run(caption_replica, args=(batch,))
        return tuple(strategy.gather(part, axis=0) for part in per_replica)

    return caption_batch


def generate(
    step: CaptionStep,
    dataset: tf.data.Dataset | tf.distribute.DistributedDataset,
    images: int,
    options: DecodeConfig,
) -> Generated:
    """Captions every image of a split.

    Args:
        step: from `make_caption_step`.
        dataset: of `EvaluationBatch`.
        images: how many the split has.
        options: the search.

    Returns:
        Captions in the order of the split.
    """
    shape = (images, options.num_captions)
    generated = Generated(
        np.zeros([*shape, options.num_tokens], np.int32),
        np.zeros(shape, np.float32),
        np.zeros(shape, np.float32),
    )
    with Progress("caption images", images, "images") as progress:
        for batch in dataset:
            number, *found = (part.numpy() for part in step(batch))
            real = number >= 0
            for kept, rows in zip(generated, found, strict=True):
                kept[number[real]] = rows[real]
            progress.advance(int(real.sum()))
    return generated


def best_captions(captioner: Captioner, generated: Generated) -> list[str]:
    """The best caption of each image, as text, in the order of the split."""
    return [captioner.vocabulary.decode(tokens) for tokens in generated.tokens[:, 0].tolist()]


def second_captions(captioner: Captioner, generated: Generated) -> list[str | None]:
    """The second best caption of each image, as text; None if no other was found."""
    if generated.tokens.shape[1] < 2:
        return [None] * len(generated.tokens)
    found = zip(generated.tokens[:, 1].tolist(), generated.scores[:, 1].tolist(), strict=True)
    return [captioner.vocabulary.decode(row) if score > -np.inf else None for row, score in found]


def all_captions(captioner: Captioner, generated: Generated) -> list[list[str]]:
    """The captions that were found for each image, best first, in the order of the split."""
    return [
        [
            captioner.vocabulary.decode(row)
            for row, score in zip(tokens, scores, strict=True)
            if score > -np.inf
        ]
        for tokens, scores in zip(generated.tokens.tolist(), generated.scores.tolist(), strict=True)
    ]


def pair_captions(references: Sequence[Reference], captions: Sequence[str]) -> CaptionPairs:
    """Puts captions beside the references of their images.

    Args:
        references: of all images of a split, in its order.
        captions: one an image, in the same order.

    Returns:
        Both, by image.
    """
    pairs = list(zip(references, captions, strict=True))
    return CaptionPairs(
        {reference.image_id: caption for reference, caption in pairs},
        {reference.image_id: reference.captions for reference in references},
    )
