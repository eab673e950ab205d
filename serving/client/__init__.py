"""The client of a model server: an image in, a caption out, without TensorFlow.

    with CaptionClient("localhost:8500") as client:
        print(client.caption("dog.jpg").text)

`AsyncCaptionClient` is the same with `await`; every error is one of the tree in
`serving.client.errors`.
"""

from imgcap.errors import ServingError
from serving.client.answers import Caption, Hypothesis, Outcome, VersionStatus
from serving.client.awaitable import AsyncCaptionClient
from serving.client.blocking import CaptionClient
from serving.client.connection import DEFAULT_TARGET, Tls
from serving.client.errors import (
    BadImage,
    DeadlineExceeded,
    ModelNotFound,
    Overloaded,
    RequestRefused,
    ServerUnavailable,
    SignatureNotFound,
)

__all__ = [
    "DEFAULT_TARGET",
    "AsyncCaptionClient",
    "BadImage",
    "Caption",
    "CaptionClient",
    "DeadlineExceeded",
    "Hypothesis",
    "ModelNotFound",
    "Outcome",
    "Overloaded",
    "RequestRefused",
    "ServerUnavailable",
    "ServingError",
    "SignatureNotFound",
    "Tls",
    "VersionStatus",
]
