"""Captions without a server: the graph that an export would hold, run by TensorFlow right here."""

import dataclasses
import time
from collections.abc import Iterable, Iterator

import tensorflow as tf

from imgcap.config import MAX_PIXELS
from imgcap.errors import ServingError
from imgcap.host.progress import Progress
from imgcap.model.caption_graph import CaptionGraph, Outputs
from imgcap.model.confidence import Confidence
from imgcap.run.confidence_file import find_confidence
from imgcap.run.pretrained import DEFAULT, resolve_run
from imgcap.run.restore import load_captioner
from serving.client import Caption, Outcome
from serving.client.answers import parse_row
from serving.client.connection import encode
from serving.client.images import ImageSource


class LocalCaptioner:
    """The captioner of a run in this process; it answers as `CaptionClient` does."""

    def __init__(self, run: str = "", *, greedy: bool = False, max_side: int | None = None) -> None:
        """Loads the run.

        Args:
            run: a run directory, or the name of a captioner of the package; empty is the default
                one.
            greedy: whether to search with a beam of width 1.
            max_side: pixels of the longer side, to which a larger image is shrunk; None never
                shrinks.

        Raises:
            RunError: there is no such run, or it is unfinished or broken.
        """
        workdir = resolve_run(run or DEFAULT)
        captioner, config = load_captioner(workdir)
        options = config.decode
        if greedy:
            options = dataclasses.replace(options, search="beam", beam_width=1)
        fitted = find_confidence(workdir, config.decode)
        confidence = Confidence(fitted.calibration) if fitted else None
        graph = CaptionGraph(captioner, config.model.image_size, MAX_PIXELS, confidence)
        self._max_side = max_side

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
        def answer(image_bytes: tf.Tensor) -> Outputs:
            features, error, _ = graph.encode(image_bytes)
            return graph.add_attention(features, graph.caption(features, error, options))

        self._answer = answer

    def caption(self, image: ImageSource) -> Caption:
        """Captions one image.

        Args:
            image: an encoded file's bytes, a path, or a Pillow image.

        Returns:
            The caption; its version is 0, since a run has no versions.

        Raises:
            BadImage: the image is unreadable, broken or too large.
        """
        image_bytes = encode(image, self._max_side)
        started = time.monotonic()
        outputs = self._answer(tf.constant([image_bytes]))
        rows = {name: values.numpy()[0] for name, values in outputs.items()}
        return parse_row(rows, version=0, seconds=time.monotonic() - started)

    def caption_many(
        self, images: Iterable[ImageSource], progress: Progress | None = None
    ) -> Iterator[Outcome]:
        """Captions any number of images, one after the other.

        Args:
            images: image sources; a generator is fine.
            progress: a bar that is advanced with each outcome.

        Yields:
            An outcome for each image.
        """
        for image in images:
            try:
                outcome = Outcome(image, self.caption(image), None)
            except ServingError as error:
                outcome = Outcome(image, None, error)
            if progress is not None:
                progress.advance()
            yield outcome
