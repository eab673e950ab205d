"""`python -m tests.bench.export.agreement`: whether exported versions of one run caption alike.

Each version captions the same real images; the captions and their CIDEr are compared with those of
the first version.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from imgcap.cli import command
from imgcap.config import Section, setting
from tests.bench.table import Row, measure_and_keep

IMAGES_AT_ONCE = 16
# Share of captions that must equal the first version's, by the value of --optimize.
EQUAL_TARGETS = {"cpu": 0.998, "cpu_bf16": 0.97}
CIDER_TARGET = "≤ 0.5"


@dataclass(frozen=True)
class AgreementConfig(Section):
    """Which versions are compared, and on which images."""

    model_base_path: str = setting("", "Folder that imgcap-export wrote.", required=True, path=True)
    versions: str = setting(
        "",
        "Versions in it, such as 1,2,3; the others should equal the first.",
        required=True,
    )
    data_dir: str = setting("", "Folder that imgcap-prepare wrote.", required=True, path=True)
    split: str = setting("dev", "Split to caption.", choices=("train", "dev", "test"))
    images: int = setting(500, "Images of it, from its start.", minimum=1)
    output: str = setting(
        "",
        "JSON file for the rows, beside those of other benchmarks; empty writes none.",
        path=True,
    )


class Captioned(NamedTuple):
    """The captions of a version.

    Attributes:
        captions: image to caption.
        cider: their CIDEr, × 100.
    """

    captions: Mapping[str, str]
    cider: float


def run(config: AgreementConfig, arguments: list[str]) -> None:
    """Compares the versions, prints the table and keeps it."""
    del arguments
    measure_and_keep("agreement", config.output, lambda: compare(config))


def compare(config: AgreementConfig) -> list[Row]:
    """Captions the images by every version.

    Args:
        config: versions and images.

    Returns:
        Two rows for each version after the first.

    Raises:
        ExportError: a version is missing.
        DataError: `data_dir` is no prepared data.
    """
    from export import card
    from imgcap.data import manifest, shards
    from imgcap.evaluation.scores import score_captions

    folders = [
        Path(config.model_base_path) / number.strip() for number in config.versions.split(",")
    ]
    kinds = [card.read_manifest(folder)["optimize"] for folder in folders]
    data_dir = Path(config.data_dir)
    paths = manifest.shard_paths(data_dir, manifest.load_manifest(data_dir), config.split)
    people = shards.references(paths)[: config.images]
    references = {one.image_id: one.captions for one in people}
    found = []
    for folder in folders:
        captions = _caption_images(folder, paths, list(references))
        scores = score_captions(captions, references, bootstrap_samples=0)
        found.append(Captioned(captions, scores["cider"]))
    rows = []
    for folder, kind, other in list(zip(folders, kinds, found, strict=True))[1:]:
        names = f"version {folder.name} ({kind}) against {folders[0].name} ({kinds[0]})"
        rows += agreement_rows(names, EQUAL_TARGETS.get(kind), found[0], other)
    return rows


def agreement_rows(names: str, target: float | None, one: Captioned, other: Captioned) -> list[Row]:
    """Rows of how far two versions agree.

    Args:
        names: of both.
        target: least share of equal captions; None for no target.
        one: captions as they should be.
        other: captions of the same images, to compare.
    """
    equal = sum(other.captions[image] == text for image, text in one.captions.items())
    count, bound = len(one.captions), f"≥ {target:g}" if target else ""
    scores = f"{other.cider:.2f} against {one.cider:.2f}"
    return [
        Row(f"equal captions, {names}", equal / count, bound, f"{equal} of {count}"),
        Row(f"CIDEr apart, {names}", abs(one.cider - other.cider), CIDER_TARGET, scores),
    ]


def _caption_images(folder: Path, paths: list[Path], images: list[str]) -> dict[str, str]:
    """A version's captions of the first images of some shards, by image."""
    import tensorflow as tf

    from imgcap import signature
    from imgcap.data.records import parse_example
    from imgcap.host.progress import Progress

    decode = tf.saved_model.load(str(folder)).signatures[signature.DECODE]
    records = tf.data.TFRecordDataset([str(path) for path in paths]).take(len(images))
    batches = records.map(lambda record: parse_example(record).image_bytes).batch(IMAGES_AT_ONCE)
    texts: list[str] = []
    with Progress(f"version {folder.name}", len(images), "images") as progress:
        for batch in batches:
            found = decode(**{signature.IMAGE_BYTES: batch})[signature.CAPTION].numpy().tolist()
            texts += [text.decode() for text in found]
            progress.advance(len(found))
    return dict(zip(images, texts, strict=True))


COMMAND = command.Command(
    name="python -m tests.bench.export.agreement",
    summary="Captions real images by several versions of an export and says how many captions are "
    "equal and how far their CIDEr is apart: what a rewritten encoder changes.",
    sections=(AgreementConfig,),
    run=run,
    tensorflow=True,
)

if __name__ == "__main__":
    sys.exit(command.main(COMMAND))
