"""The client for programs that `await`, with the arguments, answers and errors of the blocking one.

async with AsyncCaptionClient("localhost:8500") as client:
    print((await client.caption("dog.jpg")).text)
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc

from imgcap.errors import ServingError
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
from serving.client.errors import SignatureNotFound
from serving.client.images import ImageSource


class AsyncCaptionClient(Connection):
    """A connection to one model, for one event loop.

    It is closed by `close` or by leaving `async with`.
    """

    async def caption(self, image: ImageSource) -> Caption:
        """Captions one image.

        Args:
            image: an encoded file's bytes, a path, or a Pillow image.

        Raises:
            ServingError: one of the tree in `serving.client.errors`.
        """
        if isinstance(image, bytes) and self.max_side is None:
            image_bytes = encode(image)
        else:  # disk and pixels take time, and the event loop must not wait for them
            image_bytes = await asyncio.to_thread(encode, image, self.max_side)
        started = time.monotonic()
        try:
            response = await self._call(self._stub.predict, self._predict_request(image_bytes))
        except SignatureNotFound:
            if self.signature != DECODE_DETAILS:
                raise
            # Exports of earlier versions answer the details under `decode`.
            request = self._predict_request(image_bytes, DECODE)
            response = await self._call(self._stub.predict, request)
        return parse_caption(response, seconds=time.monotonic() - started)

    async def caption_many(
        self, images: Iterable[ImageSource], concurrency: int = 4
    ) -> AsyncIterator[Outcome]:
        """Captions any number of images, several at a time, in the order they came.

        One bad image costs only its own caption.

        Args:
            images: image sources; at most `concurrency` are held at once.
            concurrency: number of requests under way at a time.

        Yields:
            An outcome for each image.
        """
        waiting: deque[asyncio.Task[Outcome]] = deque()
        try:
            for image in images:
                waiting.append(asyncio.create_task(self._outcome(image)))
                if len(waiting) >= concurrency:
                    yield await waiting.popleft()
            while waiting:
                yield await waiting.popleft()
        finally:
            for task in waiting:
                task.cancel()

    async def describe(self) -> dict[str, Any]:
        """Asks for the model's card: encoder, decoder, vocabulary, scores.

        Raises:
            SignatureNotFound: the model carries no card.
        """
        response = await self._call(self._stub.predict, self._predict_request(b"", DESCRIBE))
        return parse_card(response)

    async def signatures(self) -> tuple[str, ...]:
        """Asks for the names of the model's signatures, sorted."""
        return parse_signatures(await self._call(self._stub.metadata, self._metadata_request()))

    async def status(self) -> tuple[VersionStatus, ...]:
        """Asks for every version that the server knows of this model, oldest first."""
        return parse_status(await self._call(self._stub.status, self._status_request()))

    async def close(self) -> None:
        """Closes the connection; the client can't be used any more."""
        await self._channel.close()

    async def __aenter__(self) -> "AsyncCaptionClient":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def _open(
        self,
        target: str,
        options: list[tuple[str, Any]],
        credentials: grpc.ChannelCredentials | None,
    ) -> grpc.aio.Channel:
        if credentials is None:
            return grpc.aio.insecure_channel(target, options)
        return grpc.aio.secure_channel(target, credentials, options)

    async def _call(self, call: Any, request: Any) -> Any:
        try:
            return await call(request, timeout=self.timeout)
        except grpc.RpcError as error:
            raise self._translated(error) from None

    async def _outcome(self, image: ImageSource) -> Outcome:
        try:
            return Outcome(image, await self.caption(image), None)
        except ServingError as error:
            return Outcome(image, None, error)
