"""Fitting of confidence: how probably a caption is as good as a person's, learnt on dev."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

import imgcap
from imgcap.config import DecodeConfig
from imgcap.config.prepare import WORD
from imgcap.data.batches import evaluation_images
from imgcap.data.manifest import load_manifest, shard_paths
from imgcap.data.shards import Reference, damage_refused, references
from imgcap.data.text.tokenisation import normalise
from imgcap.errors import DataError
from imgcap.evaluation.confidence.logistic import fit_regression, predict
from imgcap.evaluation.confidence.reliability import calibration_error, reliability_curve
from imgcap.evaluation.frequencies import ensure_reward
from imgcap.evaluation.generate import IMAGES_AT_ONCE
from imgcap.evaluation.scores.cider import Cider
from imgcap.host import quiet
from imgcap.host.progress import Progress
from imgcap.model.captioner import Captioner
from imgcap.model.confidence import Calibration, FeatureDistance, FeatureSpread, caption_inputs
from imgcap.run.checkpoints import best_step
from imgcap.run.confidence_file import FittedConfidence, save_confidence
from imgcap.run.identity import refuse_other_vocabulary
from imgcap.run.restore import load_captioner

SPLIT = "dev"
TRAINING_IMAGES = 2000
"""Images whose features say what the training images are like."""
DIRECTIONS = 64
"""Most directions along which their features have a variance of their own."""
FOLDS = 5
"""Parts of dev of which each is predicted by a fit to the others, to measure the calibration."""


class _Found(NamedTuple):
    """The captions of N images, K each.

    Attributes:
        inputs: float64 [N, K, 5], what the regression reads.
        tokens: int32 [N, K, T].
    """

    inputs: np.ndarray
    tokens: np.ndarray


def calibrate(
    workdir: Path, data_dir: Path | str, overrides: Mapping[str, Any]
) -> FittedConfidence:
    """Fits the confidence of a run on dev and writes it to the run.

    Args:
        workdir: the run directory.
        data_dir: what `imgcap-prepare` wrote.
        overrides: settings of the search that differ from the run's.

    Returns:
        What was written.

    Raises:
        RunError: the run is missing, unfinished or broken.
        DataError: the data is missing, damaged, of another vocabulary, or has one caption an image.
        ConfigError: a setting is out of its range, or the search does not read it.
    """
    captioner, config = load_captioner(workdir)
    options = config.decode.override(overrides)
    ensure_reward(workdir, captioner, options, [data_dir, config.train.data_dir], keep=True)
    fitted = fit_confidence(captioner, config.model.image_size, data_dir, options)
    fitted.facts.update(step=best_step(workdir))
    save_confidence(workdir, fitted)
    return fitted


def fit_confidence(
    captioner: Captioner, image_size: int, data_dir: Path | str, options: DecodeConfig
) -> FittedConfidence:
    """Fits a captioner's confidence: train says what images are like, dev how good captions are.

    A caption is as good as a person's if its CIDEr-D against the references is at least the median
    of the persons' own, each against the others of the image.

    Args:
        captioner: trained.
        image_size: pixels, height and width the encoder sees.
        data_dir: what `imgcap-prepare` wrote.
        options: the search.

    Returns:
        The calibration; its facts lack the step of the checkpoint.

    Raises:
        DataError: the data is missing, damaged, of another vocabulary, or has one caption an image.
    """
    quiet.hide_onednn_note()
    manifest = load_manifest(data_dir)
    refuse_other_vocabulary(captioner.vocabulary, data_dir, manifest)
    paths = shard_paths(data_dir, manifest, SPLIT)
    with damage_refused(paths):
        people = references(paths)
        median, cider = human_median(people, captioner.vocabulary.tokenizer)
        spread = _measure_training_images(captioner, image_size, data_dir)
        several, single = _caption(captioner, image_size, paths, len(people), options, spread)
    good = [_as_good(captioner, found, cider, median) for found in (several, single)]
    # On each image's best caption alone: it is the one that is shown, and is better than the others
    # even at equal inputs, since it was chosen.
    fits = [
        fit_regression(found.inputs[:, 0], labels)
        for found, labels in zip((several, single), good, strict=True)
    ]
    confidences = _cross_validate(several.inputs[:, 0], good[0])
    facts = {
        "decode": dataclasses.asdict(options),
        "split": SPLIT,
        "images": len(people),
        "data": manifest.fingerprint,
        "imgcap_version": imgcap.__version__,
        "human_cider": 100.0 * median,
        "share_as_good": float(good[0].mean()),
        "calibration_error": calibration_error(confidences, good[0]),
        "reliability": reliability_curve(confidences, good[0]),
    }
    return FittedConfidence(Calibration(spread, *fits), facts)


def human_median(people: Sequence[Reference], tokenizer: str = WORD) -> tuple[float, Cider]:
    """The median CIDEr-D of people's captions, each against the others of its image.

    Args:
        people: the references of a split.
        tokenizer: how texts are split, 'word' or 'character'.

    Returns:
        The median, in [0, 10], and the CIDEr-D of any caption against all references, which shares
        the document frequencies.

    Raises:
        DataError: no image has two captions.
    """
    groups = [[normalise(text, tokenizer) for text in person.captions] for person in people]
    cider = Cider(groups)
    alone = [
        (words, [*group[:number], *group[number + 1 :]])
        for group in groups
        if len(group) > 1
        for number, words in enumerate(group)
    ]
    if not alone:
        raise DataError(
            f"{SPLIT} has one caption an image, so nothing says how good a person's is: calibrate "
            "on data with several"
        )
    words, others = zip(*alone, strict=True)
    return float(np.median(Cider(others, cider.frequencies).score_all(words))), cider


def _measure_training_images(
    captioner: Captioner, image_size: int, data_dir: Path | str
) -> FeatureSpread:
    """Encodes training images and measures how their pooled features spread."""
    paths = shard_paths(data_dir, load_manifest(data_dir), "train")
    dataset = evaluation_images(paths, images=IMAGES_AT_ONCE, image_size=image_size)
    encode = tf.function(
        lambda images: tf.reduce_mean(captioner.encoder(images), axis=1), autograph=False
    )
    count = min(TRAINING_IMAGES, load_manifest(data_dir).images["train"])
    rows: list[np.ndarray] = []
    with damage_refused(paths), Progress("encode training images", count, "images") as progress:
        for batch in dataset.take(-(-count // IMAGES_AT_ONCE)):
            rows.append(encode(batch.inputs).numpy()[batch.number.numpy() >= 0])
            progress.advance(len(rows[-1]))
    return measure_spread(np.concatenate(rows)[:count])


def measure_spread(pooled: np.ndarray) -> FeatureSpread:
    """Measures the mean and the shrunk covariance of features (see `FeatureSpread`).

    Args:
        pooled: float [N, C], of N training images.

    Returns:
        The spread, with at most `DIRECTIONS` directions and at least eight images for each.
    """
    images, channels = pooled.shape
    mean = pooled.mean(axis=0, dtype=np.float64)
    _, singular, directions = np.linalg.svd(pooled - mean, full_matrices=False)
    variances = np.square(singular) / max(1, images - 1)
    kept = max(1, min(DIRECTIONS, images // 8, channels - 1))
    rest = variances[kept:].sum() / max(1, channels - kept)
    # No direction is narrower than this: a channel that never moved must not decide alone.
    floor = max(rest, 1e-6 * variances.sum() / channels, 1e-12)
    return FeatureSpread(
        mean.astype(np.float32),
        directions[:kept].T.astype(np.float32),
        np.sqrt(np.maximum(variances[:kept], floor)).astype(np.float32),
        np.sqrt(floor).astype(np.float32),
    )


def _caption(
    captioner: Captioner,
    image_size: int,
    paths: Sequence[str],
    images: int,
    options: DecodeConfig,
    spread: FeatureSpread,
) -> tuple[_Found, _Found]:
    """Captions images by the search of the options, and greedily; encodes each image once."""
    searches = [options, dataclasses.replace(options, search="beam", beam_width=1)]
    distance = FeatureDistance(spread)

    @tf.function(autograph=False)
    def find(pixels: tf.Tensor) -> list[tuple[tf.Tensor, tf.Tensor]]:
        features = captioner.encoder(pixels)
        away = distance(features)
        found = [captioner.caption_features(features, search) for search in searches]
        return [(caption_inputs(one, away), one.tokens) for one in found]

    rows: list[list[tuple[np.ndarray, np.ndarray]]] = [[], []]
    dataset = evaluation_images(paths, images=IMAGES_AT_ONCE, image_size=image_size)
    with Progress("caption images of dev", images, "images") as progress:
        for batch in dataset:
            real = batch.number.numpy() >= 0
            for kept, found in zip(rows, find(batch.inputs), strict=True):
                kept.append(tuple(part.numpy()[real] for part in found))
            progress.advance(int(real.sum()))
    several, single = (
        _Found(*(np.concatenate(part) for part in zip(*kept, strict=True))) for kept in rows
    )
    return several, single


def _as_good(captioner: Captioner, found: _Found, cider: Cider, median: float) -> np.ndarray:
    """Whether each image's best caption is as good as a person's: bool [N]."""
    vocabulary = captioner.vocabulary
    captions = map(vocabulary.decode, found.tokens[:, 0].tolist())
    scores = [
        cider.score(image, normalise(caption, vocabulary.tokenizer))
        for image, caption in enumerate(captions)
    ]
    return np.array(scores) >= median


def _cross_validate(inputs: np.ndarray, good: np.ndarray) -> np.ndarray:
    """The confidence of each image's best caption, by a fit to the other folds' images.

    Args:
        inputs: float [N, 5].
        good: bool [N].

    Returns:
        float64 [N].
    """
    # Of a single image nothing is known beforehand.
    confidences = np.full(len(inputs), 0.5)
    if len(inputs) == 1:
        return confidences
    folds = np.arange(len(inputs)) % FOLDS
    for fold in np.unique(folds):
        inside = folds == fold
        confidences[inside] = predict(
            fit_regression(inputs[~inside], good[~inside]), inputs[inside]
        )
    return confidences
