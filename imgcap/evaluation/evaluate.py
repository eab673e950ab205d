"""Evaluation of a run on a split: captions, scores and a contact sheet, written to the run."""

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import tensorflow as tf

import imgcap
from imgcap import files
from imgcap.config import DecodeConfig
from imgcap.data.batches import evaluation_images
from imgcap.data.manifest import Manifest, count_images, load_manifest, shard_paths
from imgcap.data.records import parse_example
from imgcap.data.shards import damage_refused, references, refuse_missing
from imgcap.evaluation.confidence.reliability import describe_confidence
from imgcap.evaluation.diversity import describe_diversity
from imgcap.evaluation.frequencies import ensure_reward
from imgcap.evaluation.generate import (
    IMAGES_AT_ONCE,
    all_captions,
    best_captions,
    generate,
    make_caption_step,
    pair_captions,
    second_captions,
)
from imgcap.evaluation.insight import describe
from imgcap.evaluation.report.confidence_picture import draw_confidence
from imgcap.evaluation.report.contact_sheet import Entry, write_contact_sheet
from imgcap.evaluation.report.result_files import find_evaluation
from imgcap.evaluation.scores import score_captions, score_each
from imgcap.model.captioner import Captioner
from imgcap.model.confidence import Confidence
from imgcap.run.checkpoints import best_step
from imgcap.run.confidence_file import FittedConfidence, find_confidence
from imgcap.run.identity import refuse_other_vocabulary
from imgcap.run.restore import load_captioner


def evaluate(
    workdir: Path,
    data_dir: Path | str,
    split: str,
    overrides: Mapping[str, Any],
    results: Path | None = None,
) -> dict[str, Any]:
    """Captions a split with the run's best checkpoint, scores it, and writes all to the run.

    Images are decoded from their bytes. Writes scores, captions and contact sheet, and a picture of
    the confidences if the run is calibrated to this search, to the files that
    `imgcap.evaluation.report.result_files` names by split and decode options.

    Args:
        workdir: the run directory.
        data_dir: what `imgcap-prepare` wrote; of the same vocabulary as the run.
        split: 'train', 'dev' or 'test'; several joined by '+' are scored as one.
        overrides: settings of the search that differ from the run's.
        results: folder to write to in place of the run, with the run's `config.json`.

    Returns:
        The scores, as written.

    Raises:
        RunError: the run is missing, unfinished or broken, or lacks what the search needs.
        ConfigError: a setting is out of its range, or the search does not read it.
        DataError: the data is missing, damaged or of another vocabulary.
    """
    evaluation = find_evaluation(results or workdir, split, overrides)
    captioner, config = load_captioner(workdir)
    options = config.decode.override(overrides)
    manifest = load_manifest(data_dir)
    refuse_other_vocabulary(captioner.vocabulary, data_dir, manifest)
    # Results of a run that is not to be changed go elsewhere.
    keep = results in (None, workdir)
    ensure_reward(workdir, captioner, options, [data_dir, config.train.data_dir], keep=keep)
    paths = [path for part in split.split("+") for path in shard_paths(data_dir, manifest, part)]
    with damage_refused(paths):
        entries, scores = _caption_and_score(
            captioner, config.model.image_size, paths, options, find_confidence(workdir, options)
        )
    refuse_missing(scores["images"], count_images(manifest, split), paths)
    scores = {**_provenance(workdir, manifest, split, options), **scores}
    files.write_json(evaluation.scores, scores)
    _write_captions(evaluation.captions, entries)
    picture = None
    if "confidence" in scores:
        draw_confidence(evaluation.confidence_picture, scores["confidence"])
        picture = evaluation.confidence_picture.read_bytes()
    title = f"{workdir.name}: {evaluation.name}"
    write_contact_sheet(
        evaluation.contact_sheet, entries, title, scores, picture=picture, written=date.today()
    )
    return scores


def _caption_and_score(
    captioner: Captioner,
    image_size: int,
    paths: Sequence[str],
    options: DecodeConfig,
    fitted: FittedConfidence | None,
) -> tuple[list[Entry], dict[str, Any]]:
    """Captions the images of shards: the entries of a contact sheet, and scores with insight."""
    people = references(paths)
    dataset = evaluation_images(paths, images=IMAGES_AT_ONCE, image_size=image_size)
    strategy = tf.distribute.get_strategy()
    confidence = Confidence(fitted.calibration) if fitted else None
    step = make_caption_step(captioner, strategy, options, encoded=False, confidence=confidence)
    generated = generate(step, dataset, len(people), options)
    pairs = pair_captions(people, best_captions(captioner, generated))
    tokenizer = captioner.vocabulary.tokenizer
    each = score_each(*pairs, tokenizer=tokenizer)
    scores = {
        **score_captions(*pairs, tokenizer=tokenizer),
        "insight": describe(*pairs, each, tokenizer),
    }
    images = [person.image_id for person in people]
    groups: dict[str, list[str]] = {}
    confidences: dict[str, float] = {}
    if fitted:
        best = generated.confidences[:, 0].tolist()
        confidences = dict(zip(images, best, strict=True))
        ciders = [each[person.image_id] for person in people]
        scores["confidence"] = describe_confidence(best, ciders, fitted.facts["human_cider"])
    if options.search in ("diverse", "sample") and options.num_captions > 1:
        groups = dict(zip(images, all_captions(captioner, generated), strict=True))
        scores["diversity"] = describe_diversity(groups, pairs.references, tokenizer)
    runners_up = dict(zip(images, second_captions(captioner, generated), strict=True))
    entries = [
        Entry(
            image,
            image_bytes,
            pairs.candidates[image],
            pairs.references[image],
            each[image],
            groups.get(image, ())[1:],
            confidences.get(image),
            runners_up[image],
        )
        for image, image_bytes in _image_bytes(paths)
    ]
    return entries, scores


def _image_bytes(paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Reads the name and the encoded file of each image of shards."""
    records = tf.data.TFRecordDataset([os.fsencode(path) for path in paths]).map(parse_example)
    return ((record.image_id.numpy().decode(), record.image_bytes.numpy()) for record in records)


def _provenance(
    workdir: Path, manifest: Manifest, split: str, options: DecodeConfig
) -> dict[str, Any]:
    """The facts by which scores can be traced: split, run and step, data, search, version."""
    return {
        "split": split,
        "run": workdir.name,
        "step": best_step(workdir),
        "data": manifest.fingerprint,
        "vocabulary": manifest.vocabulary_fingerprint,
        "decode": dataclasses.asdict(options),
        "imgcap_version": imgcap.__version__,
    }


def _write_captions(path: Path, entries: Sequence[Entry]) -> None:
    """Writes one JSON object an image: name, caption, other captions if any, references, CIDEr."""
    files.write_text(path, "".join(f"{_caption_line(entry)}\n" for entry in entries))


def _caption_line(entry: Entry) -> str:
    """The JSON object of one image."""
    others = {"others": entry.others} if entry.others else {}
    tree = {
        "image": entry.image_id,
        "caption": entry.caption,
        **others,
        "references": entry.references,
        "cider": round(entry.score, 3),
        **({} if entry.confidence is None else {"confidence": round(entry.confidence, 4)}),
    }
    return json.dumps(tree, ensure_ascii=False)
