"""The measured figures that the plan starts from, as a table in docs/measurements.md."""

from collections.abc import Sequence
from typing import NamedTuple

from tests.bench.table import Row

# Words of the benchmark's own vocabulary are about as many as Flickr8k's; the other is what a
# hundred million captions of the web leave if rare words are dropped.
FEW_WORDS, MANY_WORDS = 2543, 30000
HEAD = "| figure | value | unit |"


class Figures(NamedTuple):
    """What was measured. Times are CPU time of one core, so that other work does not count.

    Attributes:
        image_bytes: of an image file.
        record_bytes: of a record: image, captions and their numbers.
        captions: of an image.
        prepare_ms: to read, check, number and write an image.
        decode_ms: to read an image out of a record, decode, resize and mirror it for training.
        encode_ms: to encode an image.
        grid_bytes: of one view of an image as stored features, all positions, float16.
        pooled_bytes: the same, averaged over the positions.
        gradient_bytes: of the decoder's trainable weights, float32, with `FEW_WORDS`.
        word_gradient_bytes: that each further word of the vocabulary adds.
        block_gradient_bytes: that the encoder's last block adds if it is tuned.
        step_ms: of a caption in a training step on stored features, with `FEW_WORDS`.
        large_step_ms: the same with `MANY_WORDS`.
        search_ms: to caption an encoded image, beam width 3, 16 images at once.
    """

    image_bytes: float
    record_bytes: float
    captions: float
    prepare_ms: float
    decode_ms: float
    encode_ms: float
    grid_bytes: float
    pooled_bytes: float
    gradient_bytes: float
    word_gradient_bytes: float
    block_gradient_bytes: float
    step_ms: float
    large_step_ms: float
    search_ms: float


BYTES, MILLISECONDS, COUNT = "bytes", "ms of a core", ""
# Name in the table and unit of each figure.
NAMES = {
    "image_bytes": ("image file", BYTES),
    "record_bytes": ("record of an image", BYTES),
    "captions": ("captions of an image", COUNT),
    "prepare_ms": ("prepare an image", MILLISECONDS),
    "decode_ms": ("decode an image for training", MILLISECONDS),
    "encode_ms": ("encode an image", MILLISECONDS),
    "grid_bytes": ("features of an image, all positions, float16", BYTES),
    "pooled_bytes": ("features of an image, averaged, float16", BYTES),
    "gradient_bytes": (f"gradient of the decoder, {FEW_WORDS:,} words", BYTES),
    "word_gradient_bytes": ("gradient of one more word", BYTES),
    "block_gradient_bytes": ("gradient of the encoder's last block", BYTES),
    "step_ms": (f"training step, for each caption, {FEW_WORDS:,} words", MILLISECONDS),
    "large_step_ms": (f"training step, for each caption, {MANY_WORDS:,} words", MILLISECONDS),
    "search_ms": ("search the caption of an encoded image, beam width 3", MILLISECONDS),
}


def to_rows(figures: Figures) -> list[Row]:
    """The figures as rows of a benchmark's table, where the value stands as the ratio."""
    return [Row(NAMES[key][0], value, "", NAMES[key][1]) for key, value in _pairs(figures)]


def from_rows(rows: Sequence[Row]) -> Figures:
    """The figures of such rows."""
    values = {row.name: row.ratio for row in rows}
    return Figures(**{key: values[name] for key, (name, _) in NAMES.items()})


def to_table(figures: Figures) -> str:
    """The figures as lines of Markdown."""
    lines = [
        f"| {NAMES[key][0]} | {_number(value)} | {NAMES[key][1]} |"
        for key, value in _pairs(figures)
    ]
    return "\n".join([HEAD, "|---|---|---|", *lines])


def from_table(text: str) -> Figures:
    """The figures of such lines.

    Raises:
        KeyError: one is missing.
    """
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    values = {cell[0]: cell[1] for cell in cells if len(cell) == 3}
    return Figures(
        **{key: float(values[name].replace(",", "")) for key, (name, _) in NAMES.items()}
    )


def _pairs(figures: Figures) -> list[tuple[str, float]]:
    return list(figures._asdict().items())


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
