"""An export in this process: captions of any number of images, in batches."""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from imgcap.errors import ServingError
from imgcap.files.literal import literal_folder
from imgcap.files.locations import is_remote
from imgcap.host import quiet
from imgcap.host.threads import map_in_order
from imgcap.signature import IMAGE_BYTES
from serving.cli.batch.exports import Export
from serving.client.answers import Caption, parse_row
from serving.client.errors import BadImage

BATCH = 16
"""Images of a batch: exports compute as many at a time."""

_LOAD_ERRORS = (OSError, ValueError, KeyError, AttributeError, tf.errors.OpError)

_OF_THE_IMAGES = (tf.errors.InvalidArgumentError, tf.errors.ResourceExhaustedError)
"""Errors by which a batch fails for what is in it."""


class SavedModelCaptioner:
    """The captioner of an export, in a session of its own; any number of threads may ask it."""

    def __init__(self, export: Export, signature: str, batches: int) -> None:
        """Loads the export.

        Args:
            export: the version to load.
            signature: name of the function to call.
            batches: batches under way at a time.

        Raises:
            ServingError: it cannot be loaded, or has no such function.
        """
        self._version, self._batch = export.version, min(BATCH, export.max_batch)
        self._batches = batches
        quiet.hide_session_notes(0, 0)
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
        try:
            definition = self._load(export.folder, graph).signature_def[signature]
            self._input = definition.inputs[IMAGE_BYTES].name
        except _LOAD_ERRORS as error:
            reason = str(error).strip().partition("\n")[0]
            raise ServingError(
                f"{export.folder} cannot be loaded ({reason}): export it again"
            ) from None
        self._outputs = {alias: info.name for alias, info in definition.outputs.items()}
        graph.finalize()

    def _load(self, folder: str, graph: tf.Graph) -> Any:
        """Loads the graph and its variables; returns the MetaGraphDef."""
        load, tags = tf.compat.v1.saved_model.loader.load, [tf.saved_model.SERVING]
        with graph.as_default():
            if is_remote(folder):
                return load(self._session, tags, folder)
            with literal_folder(Path(folder)) as literal:
                return load(self._session, tags, os.fspath(literal))

    def caption_many(self, images: Iterable[bytes | BadImage]) -> Iterator[Caption | ServingError]:
        """Captions images in batches.

        Args:
            images: encoded files, or why there is none; few are held at a time.

        Yields:
            A caption or an error for each image, in their order.
        """
        cut = _cut(images, self._batch)
        for _, answers in map_in_order(self._caption, cut, self._batches, self._batches + 1):
            yield from answers.result()

    def _caption(self, batch: Sequence[bytes | BadImage]) -> list[Caption | ServingError]:
        answers = iter(self._run([image for image in batch if isinstance(image, bytes)]))
        return [next(answers) if isinstance(image, bytes) else image for image in batch]

    def _run(self, images: Sequence[bytes]) -> list[Caption | ServingError]:
        """Runs the graph on images; those with which a batch fails are found by halving it."""
        if not images:
            return []
        started = time.monotonic()
        try:
            rows = np.array(images, dtype=object)
            outputs = self._session.run(self._outputs, {self._input: rows})
        except _OF_THE_IMAGES as error:
            if len(images) == 1:
                return [BadImage(str(error.message).strip().partition("\n")[0])]
            half = len(images) // 2
            return self._run(images[:half]) + self._run(images[half:])
        except tf.errors.OpError as error:
            reason = str(error.message).strip().partition("\n")[0]
            raise ServingError(f"the export fails ({reason}): export it again") from None
        seconds = (time.monotonic() - started) / len(images)
        return [self._answer(outputs, row, seconds) for row in range(len(images))]

    def _answer(
        self, outputs: Mapping[str, np.ndarray], row: int, seconds: float
    ) -> Caption | ServingError:
        try:
            rows = {alias: values[row] for alias, values in outputs.items()}
            return parse_row(rows, self._version, seconds)
        except BadImage as error:
            return error


def _cut(images: Iterable[bytes | BadImage], size: int) -> Iterator[list[bytes | BadImage]]:
    """Yields the images in lists of that size; the last may be shorter."""
    batch: list[bytes | BadImage] = []
    for image in images:
        batch.append(image)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
