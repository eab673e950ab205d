"""Packing a run: a run directory with only what captioning, export, evaluation and tuning need.

Each weight is stored once, with the moving average in it and without the optimizer's state;
matrices and kernels may be in float16. `imgcap.run.restore` reads it as any other run.
"""

import dataclasses
import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

import imgcap
from imgcap import files
from imgcap.config import Config, ModelConfig, PackConfig, to_json
from imgcap.data.manifest import VOCABULARY_NAME, load_manifest
from imgcap.errors import DataError, RunError
from imgcap.files.unfinished import finish_folder, unfinished_folder
from imgcap.model.captioner import Captioner
from imgcap.run.checkpoints import (
    Progression,
    Variables,
    best_step,
    fits_float16,
    latest,
    save,
    tf_variables,
    to_float16,
)
from imgcap.run.config_file import CONFIG_NAME, load_config
from imgcap.run.directory import DECODE, ENCODER_FILE, FREQUENCIES
from imgcap.run.identity import PACKED, read_identity, read_members, write_identity
from imgcap.run.restore import load_captioner

CARD_FILE, NOTICE_FILE = "MODEL_CARD.md", "NOTICE"
FLOAT16 = "float16"
_ENCODER_WEIGHTS = "model.weights.h5"
"""The file of the weights inside a .keras file."""

_LARGE = 4096
"""Values from which on an array is worth compressing."""

_COPIED = (VOCABULARY_NAME, DECODE, FREQUENCIES, "confidence.*", "scores_*.json")
"""What a packed run takes over unchanged, if the run has it."""

_DATA_FACTS = ("dataset", "pictures", "split_source", "images", "captions", "text")
_SCORES = ("cider", "bleu_4", "rouge_l")


class Change(NamedTuple):
    """How many captions of a split another form of the weights changes.

    Attributes:
        changed: images with another caption than before.
        images: images of the split.
        split: its name.
    """

    changed: int
    images: int
    split: str


def pack(run: Path, config: PackConfig) -> int:
    """Writes a packed run directory, under another name first.

    Args:
        run: the run directory; its best checkpoint is taken.
        config: where the packed run goes, and how its weights are stored.

    Returns:
        Its size in bytes.

    Raises:
        RunError: `run` is none or has no checkpoint, the output exists, or NOTICE cannot be read.
    """
    output = Path(config.output_dir)
    if output.exists():
        raise RunError(f"{output} exists: give a new --output_dir")
    notice = _read_notice(config.notice)
    captioner, settings = load_captioner(run)[0], load_config(run)
    with unfinished_folder(output) as unfinished:
        for pattern in _COPIED:
            for path in run.glob(pattern):
                shutil.copyfile(path, unfinished / path.name)
        files.write_text(unfinished / CONFIG_NAME, to_json(_without_places(settings, output.name)))
        identity = read_identity(run, "name a run directory of imgcap-train")
        known = known_data(identity, settings.train.data_dir)
        write_identity(unfinished, {**identity, PACKED: packed_facts(config.weights, known)})
        write_weights(
            unfinished,
            captioner,
            _best_progression(run),
            as_file=(run / ENCODER_FILE).exists(),
            half=config.weights == FLOAT16,
        )
        if notice:
            files.write_bytes(unfinished / NOTICE_FILE, notice)
        write_card(unfinished, config.license, name=output.name)
        finish_folder(unfinished, output)
    return sum(path.stat().st_size for path in output.rglob("*") if path.is_file())


def _read_notice(path: str) -> bytes:
    """The content of the file of notices; empty if none is given."""
    try:
        return Path(path).read_bytes() if path else b""
    except OSError as error:
        raise RunError(
            f"--notice={path} can't be read ({error.strerror}): name a file of text"
        ) from None


def _without_places(settings: Config, name: str) -> Config:
    """The settings of a run, without the folders of the machine on which it was trained."""
    train = dataclasses.replace(
        settings.train,
        workdir=name,
        data_dir="",
        cache_dir="",
        data_service="",
        finetune_from=Path(settings.train.finetune_from).name,
    )
    model = without_model_places(settings.model)
    return dataclasses.replace(settings, model=model, train=train)


def without_model_places(model: ModelConfig) -> ModelConfig:
    """The settings of a model whose encoder's file, if any, is the run's own."""
    return dataclasses.replace(
        model,
        encoder=Path(model.encoder).name,
        encoder_output="",  # The run's file has no other.
        encoder_weights=Path(model.encoder_weights).name,
    )


def known_data(identity: dict[str, Any], data_dir: str) -> dict[str, Any]:
    """What is known of the data of a run.

    Args:
        identity: the content of the run's `run.json`.
        data_dir: where the run found its data.

    Returns:
        Facts of the manifest, or those that a packed run keeps; empty if the data was moved and the
        run is not packed, so that the card says less.
    """
    try:
        manifest = load_manifest(data_dir)
    except DataError:
        manifest = None
    if manifest is None or manifest.fingerprint != identity["data"]:
        return identity.get(PACKED, {}).get("data", {})
    facts = dataclasses.asdict(manifest)
    return {name: value for name, value in facts.items() if name in _DATA_FACTS}


def packed_facts(weights: str, data: dict[str, Any]) -> dict[str, Any]:
    """What `run.json` says of a packed run.

    Args:
        weights: how matrices and kernels are stored, 'float16' or 'float32'.
        data: from `known_data`.
    """
    return {"weights": weights, "imgcap_version": imgcap.__version__, "data": data}


def _best_progression(run: Path) -> Progression:
    """Where a run stood at its best checkpoint; its score is -1 if it is not known."""
    step, progression = best_step(run), latest(run)
    cider = progression.best_cider if progression and progression.best_step == step else -1.0
    return Progression(step=step, best_cider=cider, best_step=step)


def write_weights(
    folder: Path, captioner: Captioner, progression: Progression, *, as_file: bool, half: bool
) -> None:
    """Writes the weights of encoder and decoder, each once, as `imgcap.run.restore` reads them.

    Args:
        folder: the new run directory.
        captioner: with the weights.
        progression: of the checkpoint.
        as_file: whether the encoder is written as a file, structure and all.
        half: whether matrices and kernels are stored in float16.
    """
    parts: Variables = {"decoder": tf_variables(captioner.decoder.variables)}
    if as_file:
        captioner.encoder.network.save(folder / ENCODER_FILE)
        if half:
            _halve_keras_file(folder / ENCODER_FILE)
    else:
        parts = {**parts, "encoder": tf_variables(captioner.encoder.variables)}
    if half:
        parts = {name: to_float16(variables) for name, variables in parts.items()}
    save(folder, parts, progression, keep=1)


def _halve_keras_file(path: Path) -> None:
    """Stores matrices and kernels of a .keras file in float16; Keras converts them when it loads.

    Args:
        path: of the file, which is replaced.
    """
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    written = io.BytesIO()
    with (
        h5py.File(io.BytesIO(members[_ENCODER_WEIGHTS])) as source,
        # The newer layout of groups: the older one adds a megabyte to some hundred small layers.
        h5py.File(written, "w", libver="latest") as target,
    ):
        _copy_halved(source, target)
    members[_ENCODER_WEIGHTS] = written.getvalue()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    files.write_bytes(path, content.getvalue())


def _copy_halved(source: h5py.Group, target: h5py.Group) -> None:
    """Copies what an HDF5 group holds, matrices and kernels in float16."""
    target.attrs.update(source.attrs)
    for name, entry in source.items():
        if isinstance(entry, h5py.Group):
            _copy_halved(entry, target.create_group(name))
            continue
        values = entry[()]
        halved = values.astype(np.float16) if fits_float16(np.asarray(values)) else values
        # HDF5's own compression: a compressed archive would be unpacked again at each seek in it.
        packing = {"compression": "gzip", "shuffle": True} if halved.size > _LARGE else {}
        target.create_dataset(name, data=halved, **packing).attrs.update(entry.attrs)


def write_card(
    packed: Path, license: str = "", change: Change | None = None, *, name: str = ""
) -> None:
    """Writes the card of a packed run, a text for people.

    Args:
        packed: the packed run directory.
        license: under which the weights may be used; empty says that it is unknown.
        change: what float16 changes, if it was counted.
        name: of the captioner; the folder's by default.
    """
    identity = read_identity(packed, "pack the run again")
    lines = [
        f"# Captioner {name or packed.name}",
        "",
        "One sentence about a photograph. This is a run directory of imgcap: caption, evaluate, "
        "export it, or tune it on photographs of your own with `--finetune_from`.",
        "",
        "## License",
        "",
        f"{license or 'Unknown.'}"
        + (f" See [{NOTICE_FILE}]({NOTICE_FILE})." if (packed / NOTICE_FILE).exists() else ""),
        "",
        "## Data",
        "",
        *_data_lines(identity),
        "",
        "## Scores",
        "",
        *(_score_lines(packed) or ["Not scored: run imgcap-evaluate, then imgcap-pack again."]),
        "",
        "## How it was made",
        "",
        *_making_lines(packed, identity, change),
    ]
    files.write_text(packed / CARD_FILE, "\n".join(lines) + "\n")


def _data_lines(identity: dict[str, Any]) -> Iterator[str]:
    """What the card says of the data."""
    known = identity[PACKED]["data"]
    yield f"* Layout {known.get('dataset', 'unknown')}, fingerprint {identity['data']}."
    for split, count in known.get("images", {}).items():
        yield f"* {split}: {count:,} images, {known['captions'][split]:,} captions."


def _score_lines(packed: Path) -> list[str]:
    """The scores of all evaluations of the packed checkpoint, as a table; empty without any."""
    rows, step = [], best_step(packed)
    for path in sorted(packed.glob("scores_*.json")):
        found = files.read_json(path, RunError, "run imgcap-evaluate again, or remove it")
        if found.get("step") == step:
            cells = [f"{found[score]:.1f}" if score in found else "–" for score in _SCORES]
            name = path.stem.removeprefix("scores_")
            rows.append(f"| {name} | {found['images']:,} | {' | '.join(cells)} |")
    if not rows:
        return []
    heads = " | ".join(_SCORES)
    return [f"| split | images | {heads} |", f"|{'---|' * (2 + len(_SCORES))}", *rows]


def _making_lines(packed: Path, identity: dict[str, Any], change: Change | None) -> Iterator[str]:
    """What the card says of training and packing."""
    tree = files.read_json(packed / CONFIG_NAME, RunError, "pack the run again")
    model, train = tree["model"], tree["train"]
    yield (
        f"* Encoder {model['encoder']} on images of {model['image_size']} × {model['image_size']}, "
        f"decoder {model['decoder']}."
    )
    members = read_members(packed)
    if members is not None:
        yield f"* An ensemble: {members.describe()}. What follows is about the first of them."
    start = f", tuned from {train['finetune_from']}" if train["finetune_from"] else ""
    yield (
        f"* Trained with {train['objective']}{start}, {train['epochs']} epochs, seed "
        f"{train['seed']}, by imgcap {identity['imgcap_version']}; all settings are in "
        f"{CONFIG_NAME}."
    )
    packed_by = identity[PACKED]
    yield (
        f"* Packed by imgcap-pack {packed_by['imgcap_version']}: best checkpoint (step "
        f"{best_step(packed)}), weights in {packed_by['weights']}, no optimizer state."
    )
    if change is not None:
        yield f"* {describe_change(change, packed_by['weights'])}."


def describe_change(change: Change, weights: str) -> str:
    """Says how many captions the stored form of the weights changes."""
    return f"{weights} changes {change.changed:,} of {change.images:,} captions ({change.split})"
