"""The parts that the blocking and the awaitable client share: the channel and the requests."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from imgcap.data.pictures import shrink
from imgcap.errors import ConfigError, ServingError
from imgcap.signature import DECODE, DESCRIBE, IMAGE_BYTES, MODEL_NAME, QUERY
from serving.client.address import find_proxy, parse_address
from serving.client.errors import BadImage, translate
from serving.client.images import ImageSource, read_image
from serving.wire import tensors, wire_pb2

DEFAULT_TARGET = "localhost:8500"
"""TensorFlow Serving's gRPC port, on this machine."""

MAX_IMAGE_BYTES = 32 * 2**20
"""An image file above this is refused before it is sent; cameras stay far below."""

MAX_RETRIES = 4
"""gRPC makes five attempts at most, whatever it is told."""

# gRPC's own limit is 4 MB, and a batch of `features` is larger.
_RECEIVE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Tls:
    """The certificates of a TLS connection, each a PEM file.

    Attributes:
        ca: the authority that signed the server's certificate; the system's authorities by default.
        certificate: the client's own, for a server that verifies its clients.
        key: the key that belongs to `certificate`.
    """

    ca: str | os.PathLike | None = None
    certificate: str | os.PathLike | None = None
    key: str | os.PathLike | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Reads the files and makes gRPC's credentials of them.

        Raises:
            ConfigError: a file can't be read, or a certificate comes without its key.
        """
        if (self.certificate is None) != (self.key is None):
            raise ConfigError(
                "a client's certificate and its key belong together: give both or none"
            )
        return grpc.ssl_channel_credentials(
            _read(self.ca), _read(self.key), _read(self.certificate)
        )


class Connection:
    """A connection to one model, without the calls, which the clients add."""

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        model: str = MODEL_NAME,
        version: int | None = None,
        label: str | None = None,
        signature: str = DECODE,
        timeout: float = 10.0,
        retries: int = 3,
        max_side: int | None = None,
        tls: Tls | None = None,
    ) -> None:
        """Opens no connection yet: the first call does.

        Args:
            target: host:port of the server; an IPv6 address in brackets, [::1]:8500.
            model: name of the model on the server.
            version: a fixed version of it; the newest by default.
            label: a label that the server gives to a version, such as "stable"; not together with
                `version`.
            signature: the model's function to call, "decode", "decode_details" or "greedy". The
                second gives the tokens, their log-probabilities and the attention, too; a model
                without it is asked for "decode".
            timeout: seconds a call may take, retries included.
            retries: how often a call is repeated that the server could not take (0 to 4).
            max_side: photos are made smaller before they are sent, to this many pixels on the
                longer side. The caption may then differ from the original file's; by default the
                file is sent as it is.
            tls: how to speak to a server that has a certificate; plain text by default.
        """
        if version is not None and label is not None:
            raise ConfigError(f"version {version} and label {label!r} are both given: choose one")
        if not 0 <= retries <= MAX_RETRIES:
            raise ConfigError(
                f"retries {retries} is not in 0 to {MAX_RETRIES}, what gRPC repeats at most"
            )
        self.target, self.model, self.version, self.label = target, model, version, label
        self.signature, self.timeout, self.max_side = signature, timeout, max_side
        self._secure = tls is not None
        address = parse_address(target)
        self._proxy = find_proxy(address)
        self._channel = self._open(
            address.target,
            channel_options(retries, through_proxy=self._proxy is not None),
            tls.credentials() if tls else None,
        )
        self._stub = tensors.Stub(self._channel)

    def _open(
        self,
        target: str,
        options: list[tuple[str, Any]],
        credentials: grpc.ChannelCredentials | None,
    ) -> Any:
        raise NotImplementedError

    def _spec(self, signature: str = "") -> wire_pb2.ModelSpec:
        return tensors.model_spec(self.model, self.version, self.label, signature)

    def _predict_request(
        self, image_bytes: bytes, signature: str | None = None
    ) -> wire_pb2.PredictRequest:
        """A request with one row: an image, or, for `describe`, a query that the model ignores."""
        alias = QUERY if signature == DESCRIBE else IMAGE_BYTES
        return wire_pb2.PredictRequest(
            model_spec=self._spec(signature or self.signature),
            inputs={alias: tensors.string_tensor([image_bytes])},
        )

    def _metadata_request(self) -> wire_pb2.GetModelMetadataRequest:
        return wire_pb2.GetModelMetadataRequest(
            model_spec=self._spec(), metadata_field=[tensors.METADATA_FIELD]
        )

    def _status_request(self) -> wire_pb2.GetModelStatusRequest:
        # The real server does not look labels up here; all versions are the answer that helps.
        spec = tensors.model_spec(self.model, self.version, None)
        return wire_pb2.GetModelStatusRequest(model_spec=spec)

    def _translated(self, error: grpc.RpcError) -> ServingError:
        return translate(
            error.code(),
            error.details() or "",
            self.target,
            self.timeout,
            secure=self._secure,
            proxy=self._proxy,
        )


def channel_options(retries: int, *, through_proxy: bool = False) -> list[tuple[str, Any]]:
    """Settings of a channel that repeats calls by gRPC's own rules.

    gRPC repeats inside the deadline of the call, with exponential backoff and jitter, and listens
    to a server that asks for a pause; so neither client needs a loop of its own. A request is
    repeated only while it still is in the buffer, which by default (256 KB) is smaller than most
    photos.

    Args:
        retries: how often a call is repeated at most; 0 never repeats.
        through_proxy: whether gRPC may take the proxy that the environment names.

    Returns:
        Pairs of name and value, as `grpc.insecure_channel` takes them.
    """
    policy = {
        "maxAttempts": retries + 1,
        "initialBackoff": "0.1s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2.5,
        "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
    }
    method: dict[str, Any] = {"name": [{}]}
    if retries:
        method["retryPolicy"] = policy
    # If a name stands for several servers, each gets its share; gRPC's default stays with the
    # first.
    config = {"loadBalancingConfig": [{"round_robin": {}}], "methodConfig": [method]}
    return [
        ("grpc.service_config", json.dumps(config)),
        ("grpc.enable_retries", int(retries > 0)),
        ("grpc.enable_http_proxy", int(through_proxy)),
        ("grpc.per_rpc_retry_buffer_size", 2 * MAX_IMAGE_BYTES),
        ("grpc.max_receive_message_length", _RECEIVE_BYTES),
        # After a failure a channel tries again only when a call comes, and that call fails with the
        # old news. With pauses this short a repeated call always meets a fresh attempt, so a
        # restarted server is found.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 500),
    ]


def encode(image: ImageSource, max_side: int | None = None) -> bytes:
    """Makes the bytes that are sent for an image.

    Args:
        image: an encoded file's bytes, a path, or a Pillow image.
        max_side: pixels of the longer side, to which a larger image is shrunk; None never shrinks.

    Raises:
        BadImage: unreadable, empty, or too large to send.
    """
    try:
        image_bytes = read_image(image)
        if max_side is not None:
            image_bytes = shrink(image_bytes, max_side)
    except OSError as error:
        raise BadImage(f"can't be read: {error.strerror or error}") from None
    except ValueError as error:
        raise BadImage(str(error)) from None
    if not image_bytes:
        raise BadImage("the file is empty")
    if len(image_bytes) > MAX_IMAGE_BYTES:
        limit = MAX_IMAGE_BYTES // 2**20
        raise BadImage(
            f"{len(image_bytes) / 2**20:.0f} MB is above the limit of {limit} MB: make it smaller"
        )
    return image_bytes


def _read(path: str | os.PathLike | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} can't be read ({error.strerror}): give a PEM file") from None
