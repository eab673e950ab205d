"""The errors of asking a server, each with its remedy in the message.

ServingError
├── ServerUnavailable     nobody answers at the address
│   └── ProxyFailed       nobody answers there through a proxy
├── DeadlineExceeded      the answer did not come in time
├── Overloaded            the server refuses more work for now
├── ModelNotFound         the server has no such model, version or label
│   └── SignatureNotFound the model has no such function
├── BadImage              this one image can't be captioned
└── RequestRefused        anything else the server objects to
"""

import grpc

from imgcap.errors import ServingError
from serving.client.address import Proxy

TRY_LATER_STATUS = 3
"""Exit status of a command that may succeed later, unchanged: the server is away, late or busy."""


class ServerUnavailable(ServingError):
    """Nobody answers at the address, or the server is shutting down."""

    exit_status = TRY_LATER_STATUS


class ProxyFailed(ServerUnavailable):
    """Nobody answers at the address through the proxy that the environment names."""


class DeadlineExceeded(ServingError):
    """The answer did not come in time."""

    exit_status = TRY_LATER_STATUS


class Overloaded(ServingError):
    """The server refuses more work for now."""

    exit_status = TRY_LATER_STATUS


class ModelNotFound(ServingError):
    """The server knows no such model, version or label."""


class SignatureNotFound(ModelNotFound):
    """The model has no such signature."""


class BadImage(ServingError):
    """This image can't be captioned: not an image, broken, empty or too large."""


class RequestRefused(ServingError):
    """The server objects to the request for another reason; the message is the server's."""


def translate(
    code: grpc.StatusCode,
    details: str,
    target: str,
    timeout: float,
    *,
    secure: bool = False,
    proxy: Proxy | None = None,
) -> ServingError:
    """Turns a gRPC status into the error that it means to a caller.

    Args:
        code: the status.
        details: the server's text.
        target: host:port of the server.
        timeout: seconds that the call could take.
        secure: whether the call went over TLS.
        proxy: through which the call went, if any.
    """
    first_line = details.split("\n")[0]
    if code is grpc.StatusCode.UNAVAILABLE:
        if proxy:
            return ProxyFailed(_behind_proxy(first_line, target, proxy))
        return ServerUnavailable(_unavailable(first_line, target, secure))
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded(
            f"{target} did not answer within {timeout:g} s: allow more time, or give it less work"
        )
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return Overloaded(
            f"{target} has too much work ({first_line}): try later or with fewer requests at a time"
        )
    if code is grpc.StatusCode.FAILED_PRECONDITION and "signature" in details:
        return SignatureNotFound(f"{target}: {first_line} Ask the model for its signatures")
    if code is grpc.StatusCode.NOT_FOUND or details.startswith(
        "Unrecognized servable version label"
    ):
        return ModelNotFound(f"{target}: {first_line}: check the model's name and version")
    if code is grpc.StatusCode.INVALID_ARGUMENT and first_line.startswith(_IMAGE_COMPLAINTS):
        return BadImage(first_line)
    return RequestRefused(f"{target} refused the request: {first_line} ({code.name})")


def _behind_proxy(details: str, target: str, proxy: Proxy) -> str:
    """The message for UNAVAILABLE if a proxy stands between."""
    host = target.rpartition(":")[0].strip("[]")
    return (
        f"no model server answers at {target} through the proxy {proxy.url}, which "
        f"{proxy.variable} names ({details}): set no_proxy={host} to ask it directly, or mend the "
        "proxy"
    )


def _unavailable(details: str, target: str, secure: bool) -> str:
    """The message for UNAVAILABLE: the server is away, or the TLS handshake failed.

    Both have the same status. Over TLS the details don't tell the two apart: of a name with several
    addresses gRPC may report one where nobody listens.
    """
    if secure or any(
        word in details for word in ("SSL", "TLS", "CERTIFICATE", "Handshake", "handshake")
    ):
        return (
            f"{target} can't be talked to securely ({details}): check --tls and the certificates "
            "of both, and that a server answers there over TLS"
        )
    return (
        f"no model server answers at {target}: start one with imgcap-serve (imgcap-serve "
        "--model_base_path=MODELS/imgcap for a model of your own)"
    )


# How messages of TensorFlow's decoders begin, for models that don't answer with an `error` row.
_IMAGE_COMPLAINTS = (
    "Unknown image file format",
    "jpeg::Uncompress failed",
    "Invalid PNG",
    "Invalid GIF",
    "Invalid BMP",
)
