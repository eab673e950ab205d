"""The blocking client: an image in, a caption out, over TensorFlow Serving's gRPC API.

with CaptionClient("localhost:8500") as client:
    print(client.caption("dog.jpg").text)
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc

from imgcap.errors import ServingError
from imgcap.host.progress import Progress
from imgcap.host.threads import map_in_order
from imgcap.signature import DECODE, DECODE_DETAILS, DESCRIBE
from serving.client.answers import (
    Caption,
    Outcome,
    VersionStatus,
    parse_caption,
    parse_card,
    parse_signatures,
    parse_status,
)
from serving.client.connection import Connection, encode
from serving.client.errors import (
    DeadlineExceeded,
    ModelNotFound,
    ServerUnavailable,
    SignatureNotFound,
)
from serving.client.images import ImageSource, find_images


class CaptionClient(Connection):
    """A connection to one model, safe to share between threads.

    It is closed by `close` or by leaving `with`.
    """

    def caption(self, image: ImageSource) -> Caption:
        """Captions one image.

        Args:
            image: an encoded file's bytes, a path, or a Pillow image.

        Raises:
            ServingError: one of the tree in `serving.client.errors`.
        """
        image_bytes = encode(image, self.max_side)
        started = time.monotonic()
        try:
            response = self._call(self._stub.predict, self._predict_request(image_bytes))
        except SignatureNotFound:
            if self.signature != DECODE_DETAILS:
                raise
            # Exports of earlier versions answer the details under `decode`.
            response = self._call(self._stub.predict, self._predict_request(image_bytes, DECODE))
        return parse_caption(response, seconds=time.monotonic() - started)

    def caption_many(
        self, images: Iterable[ImageSource], concurrency: int = 4, progress: Progress | None = None
    ) -> Iterator[Outcome]:
        """Captions any number of images, several at a time, in the order they came.

        An image is read only when its turn is near: at most `2 * concurrency` are held at once,
        however long (or endless) `images` is. One bad image costs only its own caption.

        Args:
            images: image sources; a generator is fine.
            concurrency: number of requests under way at a time.
            progress: a bar that is advanced with each outcome.

        Yields:
            An outcome for each image.
        """
        for outcome in self._outcomes(images, concurrency):
            if progress is not None:
                progress.advance()
            yield outcome

    def stream(self, *names: str | os.PathLike, concurrency: int = 4) -> Iterator[Outcome]:
        """Captions image files, folders (at any depth) and globs, as `caption_many` does.

        Args:
            names: paths and globs of what to caption; the files of each in sorted order.
            concurrency: number of requests under way at a time.

        Yields:
            An outcome for each image, whose source is its path.
        """
        yield from self._outcomes(find_images(os.fspath(name) for name in names), concurrency)

    def describe(self) -> dict[str, Any]:
        """Asks for the model's card: encoder, decoder, vocabulary, scores.

        Raises:
            SignatureNotFound: the model carries no card.
        """
        response = self._call(self._stub.predict, self._predict_request(b"", DESCRIBE))
        return parse_card(response)

    def signatures(self) -> tuple[str, ...]:
        """Asks for the names of the model's signatures, sorted."""
        return parse_signatures(self._call(self._stub.metadata, self._metadata_request()))

    def status(self) -> tuple[VersionStatus, ...]:
        """Asks for every version that the server knows of this model, oldest first."""
        return parse_status(self._call(self._stub.status, self._status_request()))

    def version_now(self) -> int:
        """Asks which version answers now: the one that this client's label names, or the newest."""
        return self._call(self._stub.metadata, self._metadata_request()).model_spec.version.value

    def wait_until_ready(self, timeout: float = 60.0) -> int:
        """Waits for the server to come up and have the model.

        Args:
            timeout: seconds to wait at most.

        Returns:
            The newest version that is available.

        Raises:
            ServerUnavailable, ModelNotFound: still so after `timeout` seconds.
        """
        end = time.monotonic() + timeout
        while True:
            error: ServingError = ServerUnavailable(
                f"{self.model} on {self.target} is still loading after {timeout:g} s"
            )
            try:
                ready = [entry.version for entry in self.status() if entry.state == "AVAILABLE"]
                if ready:
                    return ready[-1]
            except (ServerUnavailable, ModelNotFound, DeadlineExceeded) as failure:
                error = failure
            if time.monotonic() > end:
                raise error
            time.sleep(0.1)

    def close(self) -> None:
        """Closes the connection; the client can't be used any more."""
        self._channel.close()

    def __enter__(self) -> "CaptionClient":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _open(
        self,
        target: str,
        options: list[tuple[str, Any]],
        credentials: grpc.ChannelCredentials | None,
    ) -> grpc.Channel:
        if credentials is None:
            return grpc.insecure_channel(target, options)
        return grpc.secure_channel(target, credentials, options)

    def _call(self, call: grpc.UnaryUnaryMultiCallable, request: Any) -> Any:
        try:
            return call(request, timeout=self.timeout)
        except grpc.RpcError as error:
            raise self._translated(error) from None

    def _outcomes(self, images: Iterable[ImageSource], concurrency: int) -> Iterator[Outcome]:
        yield from collect(self.caption, images, concurrency)


def collect(
    caption: Callable[[ImageSource], Caption],
    images: Iterable[ImageSource],
    concurrency: int,
    on_stop: Callable[[], None] = lambda: None,
) -> Iterator[Outcome]:
    """Asks for the captions of images, several at a time; at most `2 * concurrency` are held.

    Args:
        caption: asks for one, in some thread.
        images: image sources; a generator is fine.
        concurrency: number of calls under way at a time.
        on_stop: called if the caller takes no more outcomes, so that calls which wait can give up.

    Yields:
        An outcome for each image, in the order they came.
    """
    for image, answer in map_in_order(caption, images, concurrency, 2 * concurrency, on_stop):
        try:
            yield Outcome(image, answer.result(), None)
        except ServingError as error:
            yield Outcome(image, None, error)
