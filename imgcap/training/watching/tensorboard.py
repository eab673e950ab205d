"""Event files for TensorBoard: numbers, and captions with their images.

Written with TensorFlow's own `tf.summary.write` in the layout of TensorBoard's plugins "scalars",
"images" and "text": `tf.summary.scalar` and its like are TensorBoard's own code, which TensorFlow
no longer installs. So a machine that trains needs no TensorBoard; one that shows the files does.
"""

import importlib.util
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf
from PIL import Image, ImageDraw, ImageFont

from imgcap.evaluation.report.contact_sheet import make_thumbnail
from imgcap.files.names import shell_flag

FOLDER = "tensorboard"
# Values that are axes of the curves, not curves.
AXES = ("step", "epoch")
INK, FONT_SIZE, LINE_HEIGHT = "#1d1d1b", 16, 22


class Sample(NamedTuple):
    """A dev image that is shown with its caption after each epoch.

    Attributes:
        image_id: its name.
        image_bytes: the encoded file.
        reference: what a person wrote.
    """

    image_id: str
    image_bytes: bytes
    reference: str


class Board:
    """The event files of one run."""

    def __init__(self, folder: Path, samples: Sequence[Sample]) -> None:
        """Opens a new event file; those of earlier calls stay.

        Args:
            folder: TensorBoard's `--logdir`.
            samples: images that `captions` shows.
        """
        self._writer = tf.summary.create_file_writer(os.fsencode(folder))
        self._samples = samples

    def scalars(self, **values: float) -> None:
        """Adds a point to the curve of each value but `step` and `epoch`; `step` is the x axis."""
        with self._writer.as_default():
            for name, value in values.items():
                if name not in AXES:
                    _write(name, "scalars", tf.constant(value, tf.float32), int(values["step"]))
        self._writer.flush()

    def captions(self, step: int, captions: Sequence[str]) -> None:
        """Shows the samples with the captions they have now.

        Args:
            step: of the weights that captioned.
            captions: one a sample.
        """
        rows = ["| image | caption | a person |", "| --- | --- | --- |"]
        with self._writer.as_default():
            for sample, caption in zip(self._samples, captions, strict=True):
                picture = _draw(sample.image_bytes, caption)
                content = [str(picture.width).encode(), str(picture.height).encode(), _png(picture)]
                _write(f"captions/{sample.image_id}", "images", tf.constant(content), step)
                cells = (sample.image_id, caption, sample.reference)
                rows.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
            _write("captions", "text", tf.constant("\n".join(rows)), step)
        self._writer.flush()


def remark(folder: Path) -> str:
    """Says in one line how to look at a run's event files."""
    installed = importlib.util.find_spec("tensorboard") is not None
    remedy = (
        ""
        if installed
        else "   (TensorBoard is not installed: pip install 'imgcap-tf[tensorboard]')"
    )
    return f"curves and captions: tensorboard {shell_flag('logdir', folder)}{remedy}"


def _write(tag: str, plugin: str, values: tf.Tensor, step: int) -> None:
    metadata = tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = plugin
    tf.summary.write(tag, values, step, metadata)


def _draw(image_bytes: bytes, caption: str) -> Image.Image:
    with Image.open(io.BytesIO(make_thumbnail(image_bytes))) as photo:
        photo.load()
    font = ImageFont.load_default(FONT_SIZE)
    lines = _wrapped(caption, font, photo.width - 8)
    picture = Image.new("RGB", (photo.width, photo.height + LINE_HEIGHT * len(lines) + 8), "white")
    picture.paste(photo)
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        draw.text((4, photo.height + 4 + LINE_HEIGHT * number), line, INK, font)
    return picture


def _wrapped(
    caption: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> list[str]:
    lines = [""]
    for word in caption.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _png(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()
