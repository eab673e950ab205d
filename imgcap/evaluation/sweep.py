"""Which decode options suit a run: every one of a grid, scored on the dev split."""

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from imgcap import files
from imgcap.config import DecodeConfig
from imgcap.data import batches, manifest, shards
from imgcap.evaluation import evaluate
from imgcap.evaluation.scores import score_captions
from imgcap.host import quiet
from imgcap.model.captioner import Captioner
from imgcap.progress import Progress
from imgcap.run import checkpoints, directory, restore

SPLIT = "dev"
TABLE = "sweep_dev.json"
# Beams of 1 are greedy and have no use for a length penalty; beyond 5 the scores of caption models
# fall again.
BEAM_WIDTHS, LENGTH_PENALTIES, BLOCKED_NGRAMS = (1, 2, 3, 5), (0.0, 0.7, 1.2), (0, 3)
COLUMNS = ("beam_width", "length_penalty", "block_ngrams")


def sweep(workdir: Path, data_dir: Path) -> list[dict[str, Any]]:
    """Scores a grid of beam width, length penalty and n-gram blocking, and keeps the best of it for
    the run.

    Writes `sweep_dev.json`, the table, and `decode.json`, which evaluation and export read from
    then on.

    Args:
        workdir: the run directory.
        data_dir: what `imgcap-prepare` wrote.

    Returns:
        One row a combination, best CIDEr first: the three options, `cider`, `bleu_4`,
        `mean_length`.

    Raises:
        RunError: the run is missing, unfinished or broken.
        DataError: the data is missing, damaged or of another vocabulary.
    """
    captioner, config = restore.load_captioner(workdir)
    quiet.hear_onednn_note()
    prepared = manifest.load_manifest(data_dir)
    evaluate.refuse_other_vocabulary(captioner, data_dir, prepared)
    paths = manifest.shard_paths(data_dir, prepared, SPLIT)
    references = shards.references(paths)
    features = _encode(captioner, paths, config.model.image_size, len(references))
    rows = []
    combinations = list(grid(config.decode))
    with Progress("sweep decode options", len(combinations), "searches") as progress:
        for options in combinations:
            scores = _score(captioner, features, references, options)
            rows.append({name: getattr(options, name) for name in COLUMNS} | scores)
            progress.advance(1, f"CIDEr {scores['cider']:.1f}")
    order = sorted(range(len(rows)), key=lambda at: -rows[at]["cider"])
    ranked = [rows[at] for at in order]
    files.write_json(
        workdir / TABLE, {"split": SPLIT, "step": checkpoints.best_step(workdir), "rows": ranked}
    )
    directory.save_decode(workdir, combinations[order[0]])
    return ranked


def grid(options: DecodeConfig) -> Iterator[DecodeConfig]:
    """The combinations that differ in what they do.

    Args:
        options: what stays the same.

    Yields:
        One set of options each.
    """
    for width, penalty, blocked in itertools.product(BEAM_WIDTHS, LENGTH_PENALTIES, BLOCKED_NGRAMS):
        if width == 1 and penalty != LENGTH_PENALTIES[0]:
            continue
        yield dataclasses.replace(
            options,
            beam_width=width,
            length_normalisation="wu",
            length_penalty=penalty,
            block_ngrams=blocked,
        )


def _encode(captioner: Captioner, paths: list[Path], image_size: int, images: int) -> np.ndarray:
    """The features of all images, encoded once for all searches: float16 [images, L, C]."""
    dataset = batches.evaluation_images(
        paths, images=evaluate.IMAGES_AT_ONCE, image_size=image_size
    )
    encode = tf.function(captioner.encoder.__call__)
    features = np.zeros([images, *captioner.encoder.features_shape], np.float16)
    with Progress("encode images", images, "images") as progress:
        for batch in dataset:
            real = batch.number.numpy() >= 0
            features[batch.number.numpy()[real]] = encode(batch.inputs).numpy()[real]
            progress.advance(int(real.sum()))
    return features


def _score(
    captioner: Captioner,
    features: np.ndarray,
    references: list[shards.Reference],
    options: DecodeConfig,
) -> dict[str, float]:
    search = tf.function(
        lambda some: captioner.caption_features(some, options).tokens, reduce_retracing=True
    )
    size = evaluate.IMAGES_AT_ONCE
    tokens = [
        search(features[start : start + size]).numpy()[:, 0]
        for start in range(0, len(features), size)
    ]
    captions = [captioner.vocabulary.decode(row) for row in np.concatenate(tokens).tolist()]
    candidates = {
        reference.image_id: text for reference, text in zip(references, captions, strict=True)
    }
    truth = {reference.image_id: reference.captions for reference in references}
    scores = score_captions(candidates, truth, bootstrap_samples=0)
    return {name: scores[name] for name in ("cider", "bleu_4", "mean_length")}
