"""A run's captions for a split, and what they are worth."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

import imgcap
from imgcap import files
from imgcap.config import Config, DecodeConfig
from imgcap.data import batches, manifest, shards
from imgcap.data.manifest import Manifest
from imgcap.data.records import parse_example
from imgcap.errors import DataError
from imgcap.evaluation.contact_sheet import Entry, write_contact_sheet
from imgcap.evaluation.insight import describe
from imgcap.evaluation.scores import score_captions, score_each
from imgcap.model.captioner import Captioner
from imgcap.progress import Progress
from imgcap.run import checkpoints, restore

IMAGES_AT_ONCE = 32


class Generated(NamedTuple):
    """Captions of a split.

    Attributes:
        tokens: int32 [images, K, T], in the order of the split.
        scores: float32 [images, K].
    """

    tokens: np.ndarray
    scores: np.ndarray


CaptionStep = Callable[[batches.EvaluationBatch], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]


def make_caption_step(
    captioner: Captioner, strategy: tf.distribute.Strategy, options: DecodeConfig, *, encoded: bool
) -> CaptionStep:
    """The graph that captions one global batch; made once, since tracing a deep encoder takes
    longer than a split.

    Args:
        captioner: what captions.
        strategy: that `captioner` was built under.
        options: the search.
        encoded: whether the inputs are features already.

    Returns:
        A function of a batch: number int64 [B], tokens int32 [B, K, T] and scores float32 [B, K] of
        all replicas.
    """

    def caption_replica(batch: batches.EvaluationBatch) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        features = batch.inputs if encoded else captioner.encoder(batch.inputs)
        captions = captioner.caption_features(features, options)
        return batch.number, captions.tokens, captions.scores

    @tf.function(reduce_retracing=True)
    def caption_batch(batch: batches.EvaluationBatch) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        per_replica = strategy.run(caption_replica, args=(batch,))
        return tuple(strategy.gather(part, axis=0) for part in per_replica)

    return caption_batch


def generate(
    step: CaptionStep,
    dataset: tf.data.Dataset | tf.distribute.DistributedDataset,
    images: int,
    options: DecodeConfig,
) -> Generated:
    """Captions every image of a split once, however many replicas share the work.

    Args:
        step: from `make_caption_step`.
        dataset: of `EvaluationBatch`.
        images: how many the split has.
        options: the search.

    Returns:
        Captions in the order of the split.
    """
    shape = (images, options.beam_width)
    generated = Generated(
        np.zeros([*shape, options.num_tokens], np.int32), np.zeros(shape, np.float32)
    )
    with Progress("caption images", images, "images") as progress:
        for batch in dataset:
            number, tokens, scores = (part.numpy() for part in step(batch))
            real = number >= 0
            generated.tokens[number[real]] = tokens[real]
            generated.scores[number[real]] = scores[real]
            progress.advance(int(real.sum()))
    return generated


def evaluate(
    workdir: Path, data_dir: Path, split: str, overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """Captions a split from its image bytes with the run's best checkpoint, scores it, and writes
    all to the run.

    Writes `scores_<split>.json`, `captions_<split>.jsonl` and `contact_sheet_<split>.html`.

    Args:
        workdir: the run directory.
        data_dir: what `imgcap-prepare` wrote; of the same vocabulary as the run.
        split: 'train', 'dev' or 'test'; several joined by '+' are scored as one.
        overrides: settings of the search that differ from the run's.

    Returns:
        The scores, as written.

    Raises:
        RunError: the run is missing, unfinished or broken.
        DataError: the data is missing, damaged or of another vocabulary.
    """
    captioner, config = restore.load_captioner(workdir)
    options = dataclasses.replace(config.decode, **overrides)
    prepared = manifest.load_manifest(data_dir)
    refuse_other_vocabulary(captioner, data_dir, prepared)
    paths = [
        path for part in split.split("+") for path in manifest.shard_paths(data_dir, prepared, part)
    ]
    try:
        entries, scores = _caption_and_score(captioner, config, paths, options)
    except tf.errors.DataLossError as error:
        raise DataError(
            f"{data_dir}: a shard of split {split!r} is damaged ({error.message[:100]}): run "
            "imgcap-prepare into a new --output_dir"
        ) from None
    scores = {**_provenance(workdir, prepared, split, options), **scores}
    files.write_json(workdir / f"scores_{split}.json", scores)
    _write_captions(workdir / f"captions_{split}.jsonl", entries)
    write_contact_sheet(
        workdir / f"contact_sheet_{split}.html", entries, f"{workdir.name}: {split}", scores
    )
    return scores


def refuse_other_vocabulary(captioner: Captioner, data_dir: Path, prepared: Manifest) -> None:
    """Raises DataError if the data was prepared with another vocabulary than the captioner's."""
    expected = captioner.vocabulary.fingerprint
    if prepared.vocabulary_fingerprint != expected:
        raise DataError(
            f"{data_dir / manifest.VOCABULARY_NAME} has fingerprint "
            f"{prepared.vocabulary_fingerprint}, the run's vocabulary {expected}: give the "
            "--data_dir the run was trained on"
        )


def _caption_and_score(
    captioner: Captioner, config: Config, paths: list[Path], options: DecodeConfig
) -> tuple[list[Entry], dict[str, Any]]:
    references = shards.references(paths)
    dataset = batches.evaluation_images(
        paths, images=IMAGES_AT_ONCE, image_size=config.model.image_size
    )
    strategy = tf.distribute.get_strategy()
    step = make_caption_step(captioner, strategy, options, encoded=False)
    generated = generate(step, dataset, len(references), options)
    captions = texts(captioner, generated)
    candidates = {
        reference.image_id: caption for reference, caption in zip(references, captions, strict=True)
    }
    by_image = {reference.image_id: reference.captions for reference in references}
    each = score_each(candidates, by_image)
    entries = [
        Entry(image_id, image_bytes, candidates[image_id], by_image[image_id], each[image_id])
        for image_id, image_bytes in _image_bytes(paths)
    ]
    return entries, {
        **score_captions(candidates, by_image),
        "insight": describe(candidates, by_image, each),
    }


def texts(captioner: Captioner, generated: Generated) -> list[str]:
    """The best caption of each image."""
    return [captioner.vocabulary.decode(tokens) for tokens in generated.tokens[:, 0].tolist()]


def _image_bytes(paths: list[Path]) -> Iterator[tuple[str, bytes]]:
    records = tf.data.TFRecordDataset([str(path) for path in paths]).map(parse_example)
    return ((record.image_id.numpy().decode(), record.image_bytes.numpy()) for record in records)


def _provenance(
    workdir: Path, prepared: Manifest, split: str, options: DecodeConfig
) -> dict[str, Any]:
    return {
        "split": split,
        "run": workdir.name,
        "step": checkpoints.best_step(workdir),
        "data": prepared.fingerprint,
        "vocabulary": prepared.vocabulary_fingerprint,
        "decode": dataclasses.asdict(options),
        "imgcap_version": imgcap.__version__,
    }


def _write_captions(path: Path, entries: list[Entry]) -> None:
    lines = [
        json.dumps(
            {
                "image": entry.image_id,
                "caption": entry.caption,
                "references": entry.references,
                "cider": round(entry.score, 3),
            },
            ensure_ascii=False,
        )
        for entry in entries
    ]
    files.write_text(path, "".join(f"{line}\n" for line in lines))
