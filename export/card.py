"""What an exported version says of itself: one tree of facts in three forms.

`manifest.json` is for programs, the card in `assets/` is what the `describe` signature answers, and
`MODEL_CARD.md` is for people. An unknown fact is None in the tree and "unknown" in the text.
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

import imgcap
from imgcap import files, signature
from imgcap.config import MOVABLE, Config, DecodeConfig, decode_from_tree
from imgcap.data import manifest
from imgcap.data.text.vocabulary import Vocabulary
from imgcap.errors import ConfigError, DataError, ExportError, RunError
from imgcap.evaluation.report.result_files import SCORES_PATTERN, evaluation_name
from imgcap.evaluation.scores import NAMES
from imgcap.files.checked import read_checked, write_checked
from imgcap.files.model_folder import MANIFEST
from imgcap.run import checkpoints, directory
from imgcap.run.identity import PACKED, members_from_tree, read_members

CARD = "card.json"
MODEL_CARD = "MODEL_CARD.md"
ASSETS = "assets"

Facts = dict[str, Any]
"""A tree that JSON can hold."""

NOT_SCORED = "Not scored: run imgcap-evaluate, then export again."
NOT_CALIBRATED = "Not calibrated: run imgcap-evaluate --calibrate, then export again."
INTENDED_USE = """\
Describing a photograph in one sentence, as a draft for a person who can see it too: alternative
texts, search, sorting. It is not meant to identify people, nor for decisions about them, nor where
a wrong sentence does harm, such as guiding someone who can't see."""
LIMITS = """\
* It knows the words of its vocabulary and no other, and sees the world as its training photographs
  and their writers did: whatever is rare or absent there is named wrongly and with confidence, and
  what the writers assumed of people (sex, age, occupation) it assumes too.
* It was scored on photographs like those it was trained on, if at all; on others expect less.
* A score says how likely the words are to the model, and a confidence how often such a caption is
  as good as a person's; neither says that this one is true.
* It reads JPEG, PNG, GIF, BMP and WebP (the first frame); text in a picture it does not read."""


def collect_facts(
    workdir: Path, config: Config, vocabulary: Vocabulary, options: DecodeConfig, more: Facts
) -> Facts:
    """Collects all that is known of a run when it is exported.

    Args:
        workdir: the run directory.
        config: of the run.
        vocabulary: of the run.
        options: the search that the signatures carry.
        more: what the export adds: limits, what was done to the encoder, and what both parts
            compute in.

    Returns:
        The facts, without the number of the version, which is None until the version is published.

    Raises:
        RunError: the run has no checkpoint.
        ExportError: a file of scores is broken.
    """
    progression = checkpoints.latest(workdir)
    step = checkpoints.best_step(workdir)
    members = read_members(workdir)
    dev_cider = None
    # A run that was packed without its score, such as an ensemble, has a negative one.
    if progression is not None and progression.best_step == step and progression.best_cider >= 0:
        dev_cider = round(progression.best_cider, 2)
    facts = {
        "name": signature.MODEL_NAME,
        "version": None,
        "imgcap_version": imgcap.__version__,
        "tensorflow_version": tf.__version__,
        "keras_version": keras.__version__,
        "run": workdir.resolve().name,
        "step": step,
        "model": _without_folders(dataclasses.asdict(config.model)),
        "ensemble": dataclasses.asdict(members) if members else None,
        "vocabulary_fingerprint": vocabulary.fingerprint,
        "vocabulary_size": len(vocabulary),
        "tokenizer": vocabulary.tokenizer,
        "decode": dataclasses.asdict(options),
        **more,
        "data": _data_facts(workdir, config.train.data_dir),
        "training": _without_folders(dataclasses.asdict(config.train)),
        "dev_cider": dev_cider,
        "scores": _scores(workdir, step),
    }
    # As they come back from a file, which has no tuples.
    return json.loads(json.dumps(facts))


def _without_folders(settings: Facts) -> Facts:
    """Settings without those that say where something was computed, and paths cut to their last
    part: a card goes to whoever asks the server.
    """
    return {
        name: Path(value).name if isinstance(value, str) and os.sep in value else value
        for name, value in settings.items()
        if name not in MOVABLE
    }


def _data_facts(workdir: Path, data_dir: str) -> Facts:
    """What the run was trained on; if the data is no longer at `data_dir`, a packed run knows it,
    and of others most is unknown.
    """
    run = files.read_json(
        workdir / directory.RUN, RunError, "give --workdir a directory that imgcap-train wrote"
    )
    facts: Facts = dict.fromkeys(
        ("dataset", "split_source", "images", "captions", "text", "pictures")
    )
    try:
        prepared = manifest.load_manifest(data_dir)
    except DataError:  # It was moved, and nothing but the card misses it.
        prepared = None
    if prepared is not None and prepared.fingerprint == run["data"]:
        facts = {name: getattr(prepared, name) for name in facts}
    else:
        facts |= run.get(PACKED, {}).get("data", {})
    return {"fingerprint": run["data"], **facts}


def _scores(workdir: Path, step: int) -> Facts:
    """The scores of the checkpoint at a step, by evaluation; those of others are ignored.

    An evaluation is named by its split and the decode options that are not those of training.
    """
    found = {}
    for path in sorted(workdir.glob(SCORES_PATTERN)):
        tree = files.read_json(path, ExportError, "run imgcap-evaluate again, or remove it")
        try:
            if tree["step"] == step:
                kept = {name: tree[name] for name in ("split", "images", "intervals", *NAMES)}
                decode = dataclasses.asdict(decode_from_tree(tree["decode"]))
                found[evaluation_name(path)] = {**kept, "decode": decode}
        except (KeyError, TypeError, ConfigError) as error:
            raise ExportError(
                f"{path} holds no scores ({error}): run imgcap-evaluate again, or remove it"
            ) from None
    return found


def write_card(version: Path, facts: Facts) -> None:
    """Writes the facts into a version's folder, in the three forms.

    Args:
        version: the folder; has the folder `assets`.
        facts: from `collect_facts`.
    """
    write_checked(version / MANIFEST, facts)
    write_line(version / ASSETS / CARD, facts)
    files.write_text(version / MODEL_CARD, format_card(facts))


def write_line(path: Path, facts: Facts) -> None:
    """Writes the facts as JSON in one line, as a SavedModel's asset has them.

    Args:
        path: the file; its folder must exist.
        facts: from `collect_facts`.
    """
    files.write_text(path, json.dumps(facts, ensure_ascii=False, allow_nan=False) + "\n")


def read_manifest(version: Path) -> Facts:
    """Reads the facts of an exported version.

    Args:
        version: its folder.

    Raises:
        ExportError: there is no manifest, or it cannot be read.
    """
    return read_checked(version / MANIFEST, ExportError, "export the run again")


def format_card(facts: Facts) -> str:
    """Writes the facts as a text for people.

    Args:
        facts: from `collect_facts`.

    Returns:
        Markdown.
    """
    model, decode = facts["model"], facts["decode"]
    about = {
        "encoder": f"{model['encoder']}, images of {model['image_size']} × {model['image_size']}",
        "encoder as exported": facts["encoder_description"],
        "CPU features it needs": ", ".join(facts["cpu_features"]) or "none",
        "decoder": _describe_decoder(facts),
        "numerics": f"encoder {facts['encoder_numerics']}, decoder {facts['decoder_numerics']}",
        "vocabulary": f"{facts['vocabulary_size']} words, fingerprint "
        f"{facts['vocabulary_fingerprint']}",
        "captions are split by": facts["tokenizer"],
        "run": f"{facts['run']}, step {facts['step']}",
        "made with": f"imgcap {facts['imgcap_version']}, TensorFlow {facts['tensorflow_version']}, "
        f"Keras {facts['keras_version']}",
    }
    limits = (
        f"* A picture that declares more than {facts['max_pixels']:,} pixels is refused.\n"
        f"* A JPEG may lack {facts.get('max_missing', 0.0):.0%} of its rows, at its lower end.\n"
        f"* A request has at most {facts['max_batch']:,} images; one with more is refused.\n"
        f"* A caption has at most {decode['max_length']} words."
    )
    sections = {
        f"Model card: {facts['name']}, version {_known(facts['version'])}": _table(about),
        "Intended use": INTENDED_USE,
        "Data": _format_data(facts["data"]),
        "Training": _format_training(facts),
        "Scores": _format_scores(facts["scores"], decode),
        "Confidence": _format_confidence(facts["confidence"], decode),
        "Decoding": _table(decode),
        "Limits": f"{LIMITS}\n{limits}",
    }
    titles = ["# ", *["## "] * (len(sections) - 1)]
    return "\n".join(
        f"{mark}{title}\n\n{text}\n"
        for mark, (title, text) in zip(titles, sections.items(), strict=True)
    )


def _describe_decoder(facts: Facts) -> str:
    """The decoder in a few words, or the runs whose decoders make an ensemble."""
    if facts.get("ensemble"):
        return f"an ensemble of {members_from_tree(facts['ensemble']).describe()}"
    model = facts["model"]
    return (
        f"{model['decoder']}: LSTM of {model['units']} units, word embedding of "
        f"{model['embedding_dim']}"
    )


def _format_training(facts: Facts) -> str:
    about = f"Best CIDEr on dev: {_known(facts['dev_cider'])}."
    if facts.get("ensemble"):
        about += " The settings are those of the first run of the ensemble."
    return f"{about}\n\n{_table(facts['training'])}"


def _format_data(data: Facts) -> str:
    about = {
        "layout": data["dataset"],
        "splits": data["split_source"],
        "fingerprint": data["fingerprint"],
        "words of a caption, mean": (data["text"] or {}).get("length_mean"),
    }
    counts = {
        f"{split}: images, captions": f"{images:,}, {data['captions'][split]:,}"
        for split, images in (data["images"] or {}).items()
    }
    return _table({**about, **(counts or {"images, captions": None})})


def _format_scores(scores: Facts, decode: Facts) -> str:
    if not scores:
        return NOT_SCORED
    lines = [
        f"| split | images | {' | '.join(NAMES)} | decoding |",
        f"|{'---|' * (len(NAMES) + 3)}",
    ]
    for found in scores.values():
        cells = [
            f"{found[name]:.1f} [{', '.join(f'{limit:.1f}' for limit in found['intervals'][name])}]"
            for name in NAMES
        ]
        differing = [
            f"{name}={value}"
            for name, value in found["decode"].items()
            if decode.get(name) != value
        ]
        lines.append(
            f"| {found['split']} | {found['images']} | {' | '.join(cells)} | "
            f"{', '.join(differing) or 'as exported'} |"
        )
    return "\n".join(["× 100, with intervals of 95 % (bootstrap over images).", "", *lines])


def _format_confidence(confidence: Facts | None, decode: Facts) -> str:
    """What the output `confidence` means, and how right it was."""
    if confidence is None:
        return NOT_CALIBRATED
    differing = [
        f"{name}={value}"
        for name, value in confidence["decode"].items()
        if decode.get(name) != value
    ]
    fitted = f" It was fitted to the search {', '.join(differing)}." if differing else ""
    rows = [
        f"| {group['confidence']:.2f} | {group['good']:.2f} | {group['captions']} |"
        for group in confidence["reliability"]
    ]
    return "\n".join(
        [
            "The output `confidence` is the probability that a caption is as good as a person's: "
            f"that its CIDEr is at least {confidence['human_cider']:.1f}, the median of people's "
            "own captions, each against the others of its image. Fitted on "
            f"{confidence['images']} images of {confidence['split']}, where "
            f"{confidence['share_as_good']:.0%} of the captions were.{fitted} Expected calibration "
            f"error by cross-validation: {confidence['calibration_error']:.3f}.",
            "",
            "| confidence, mean of a group | share as good as a person's | captions |",
            "|---|---|---|",
            *rows,
        ]
    )


def _table(rows: Mapping[str, Any]) -> str:
    lines = [f"| {name} | {_known(value)} |" for name, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _known(value: Any) -> str:
    return "unknown" if value is None else str(value) or "–"
