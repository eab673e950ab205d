"""A sweep of decode options: every combination of a grid, scored on the dev split."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from imgcap import files
from imgcap.config import DecodeConfig
from imgcap.data.batches import evaluation_images
from imgcap.data.manifest import load_manifest, shard_paths
from imgcap.data.shards import Reference, damage_refused, references
from imgcap.evaluation.generate import IMAGES_AT_ONCE, pair_captions
from imgcap.evaluation.scores import score_captions
from imgcap.host import quiet
from imgcap.host.progress import Progress
from imgcap.model.captioner import Captioner
from imgcap.run.checkpoints import best_step
from imgcap.run.directory import save_decode
from imgcap.run.identity import refuse_other_vocabulary
from imgcap.run.restore import load_captioner

SPLIT = "dev"
TABLE = "sweep_dev.json"
# Beams of 1 are greedy and have no use for a length penalty; beyond 5 the scores of caption models
# fall again.
BEAM_WIDTHS, LENGTH_PENALTIES, BLOCKED_NGRAMS = (1, 2, 3, 5), (0.0, 0.7, 1.2), (0, 3)
COLUMNS = ("beam_width", "length_penalty", "block_ngrams")
"""The options that a row of the table names."""


def sweep(workdir: Path, data_dir: Path | str) -> list[dict[str, Any]]:
    """Scores a grid of decode options and keeps the best of them for the run.

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
    captioner, config = load_captioner(workdir)
    quiet.hide_onednn_note()
    manifest = load_manifest(data_dir)
    refuse_other_vocabulary(captioner.vocabulary, data_dir, manifest)
    paths = shard_paths(data_dir, manifest, SPLIT)
    with damage_refused(paths):
        people = references(paths)
        features = _encode(captioner, paths, config.model.image_size, len(people))
    rows = []
    combinations = list(grid(config.decode))
    with Progress("sweep decode options", len(combinations), "searches") as progress:
        for options in combinations:
            scores = _score(captioner, features, people, options)
            rows.append({name: getattr(options, name) for name in COLUMNS} | scores)
            progress.advance(1, f"CIDEr {scores['cider']:.1f}")
    order = sorted(range(len(rows)), key=lambda at: -rows[at]["cider"])
    ranked = [rows[at] for at in order]
    files.write_json(workdir / TABLE, {"split": SPLIT, "step": best_step(workdir), "rows": ranked})
    save_decode(workdir, combinations[order[0]])
    return ranked


def grid(options: DecodeConfig) -> Iterator[DecodeConfig]:
    """Combines the values of the grid, leaving out combinations that search alike.

    Args:
        options: gives all other settings.

    Yields:
        One set of options each.
    """
    for width, penalty, blocked in itertools.product(BEAM_WIDTHS, LENGTH_PENALTIES, BLOCKED_NGRAMS):
        if width == 1 and penalty != LENGTH_PENALTIES[0]:
            continue
        yield dataclasses.replace(
            options,
            search="beam",
            beam_width=width,
            length_normalisation="wu",
            length_penalty=penalty,
            block_ngrams=blocked,
        )


def _encode(captioner: Captioner, paths: Sequence[str], image_size: int, images: int) -> np.ndarray:
    """Encodes all images once, for all searches: float16 [images, L, C]."""
    dataset = evaluation_images(paths, images=IMAGES_AT_ONCE, image_size=image_size)
    encode = tf.function(captioner.encoder.__call__, autograph=False)
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
    people: Sequence[Reference],
    options: DecodeConfig,
) -> dict[str, float]:
    """Captions encoded images with some options and scores the captions."""
    search = tf.function(
        lambda some: captioner.caption_features(some, options).tokens,
        reduce_retracing=True,
        autograph=False,
    )
    tokens = [
        search(features[start : start + IMAGES_AT_ONCE]).numpy()[:, 0]
        for start in range(0, len(features), IMAGES_AT_ONCE)
    ]
    captions = [captioner.vocabulary.decode(row) for row in np.concatenate(tokens).tolist()]
    scores = score_captions(
        *pair_captions(people, captions),
        bootstrap_samples=0,
        tokenizer=captioner.vocabulary.tokenizer,
    )
    return {name: scores[name] for name in ("cider", "bleu_4", "mean_length")}
