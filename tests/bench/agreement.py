"""`python -m tests.bench.agreement`: whether exports of one run say the same: captions of real
images by each version beside those of the first, and what each earns.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from imgcap.cli import command
from imgcap.config import Section, setting
from tests.bench.table import Row, measure_and_keep

if TYPE_CHECKING:  # it imports TensorFlow
    from imgcap.data.shards import Reference

IMAGES_AT_ONCE = 16
# The share of captions that must be the first version's, by what was done to the encoder.
EQUAL_TARGETS = {"cpu": 0.998, "cpu_bf16": 0.97}
CIDER_TARGET = "≤ 0.5"


@dataclass(frozen=True)
class AgreementConfig(Section):
    """What is compared on which images."""

    model_base_path: str = setting("", "Folder that imgcap-export wrote.", required=True)
    versions: str = setting(
        "",
        "Versions in it, such as 1,2,3; the first is what the others should equal.",
        required=True,
    )
    data_dir: str = setting("", "Folder that imgcap-prepare wrote.", required=True)
    split: str = setting("dev", "Split to caption.", choices=("train", "dev", "test"))
    images: int = setting(500, "Images of it, from its start.", minimum=1)
    output: str = setting(
        "", "JSON file for the rows, beside those of other benchmarks; empty writes none."
    )


class Captioned(NamedTuple):
    """What a version says.

    Attributes:
        captions: image to caption.
        cider: what they earn, × 100.
    """

    captions: Mapping[str, str]
    cider: float


def run(config: AgreementConfig, arguments: list[str]) -> None:
    """Captions, compares, prints and keeps the table."""
    del arguments
    measure_and_keep("agreement", config.output, lambda: compare(config))


def compare(config: AgreementConfig) -> list[Row]:
    """Captions the images by every version.

    Args:
        config: versions and images.

    Returns:
        Two rows a version behind the first.

    Raises:
        ExportError: a version that is not there.
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
    references = shards.references(paths)[: config.images]
    people = {reference.image_id: reference.captions for reference in references}
    found = []
    for folder in folders:
        captions = _captions(folder, paths, references)
        found.append(
            Captioned(captions, score_captions(captions, people, bootstrap_samples=0)["cider"])
        )
    rows = []
    for folder, kind, other in list(zip(folders, kinds, found, strict=True))[1:]:
        names = f"version {folder.name} ({kind}) against {folders[0].name} ({kinds[0]})"
        rows += agreement_rows(names, EQUAL_TARGETS.get(kind), found[0], other)
    return rows


def agreement_rows(names: str, target: float | None, one: Captioned, other: Captioned) -> list[Row]:
    """How far two versions agree.

    Args:
        names: of both.
        target: share of equal captions; None for none.
        one: what should be said.
        other: what is said, of the same images.
    """
    equal, count = (
        sum(other.captions[image] == text for image, text in one.captions.items()),
        len(one.captions),
    )
    wanted, scores = f"≥ {target:g}" if target else "", f"{other.cider:.2f} against {one.cider:.2f}"
    return [
        Row(f"equal captions, {names}", equal / count, wanted, f"{equal} of {count}"),
        Row(f"CIDEr apart, {names}", abs(one.cider - other.cider), CIDER_TARGET, scores),
    ]


def _captions(folder: Path, paths: list[Path], references: "list[Reference]") -> dict[str, str]:
    """What a version says to the first images of some shards, by image."""
    import tensorflow as tf

    from imgcap import signature
    from imgcap.data.records import parse_example
    from imgcap.progress import Progress

    decode = tf.saved_model.load(str(folder)).signatures[signature.DECODE]
    records = tf.data.TFRecordDataset([str(path) for path in paths]).take(len(references))
    batches = records.map(lambda record: parse_example(record).image_bytes).batch(IMAGES_AT_ONCE)

    def texts() -> Iterator[str]:
        with Progress(f"version {folder.name}", len(references), "images") as progress:
            for batch in batches:
                found = decode(**{signature.IMAGE_BYTES: batch})[signature.CAPTION].numpy().tolist()
                progress.advance(len(found))
                yield from (text.decode() for text in found)

    return {reference.image_id: text for reference, text in zip(references, texts(), strict=True)}


COMMAND = command.Command(
    name="python -m tests.bench.agreement",
    summary="Captions real images by several versions of an export and says how many captions are "
    "equal and how far their CIDEr is apart: what a rewritten encoder changes.",
    sections=(AgreementConfig,),
    run=run,
    tensorflow=True,
)

if __name__ == "__main__":
    sys.exit(command.main(COMMAND))
