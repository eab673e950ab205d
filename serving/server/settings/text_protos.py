"""Reads the files that TensorFlow Serving's flags name: text protos, with one-line errors."""

import os
from pathlib import Path
from typing import TypeVar

import grpc
from google.protobuf import text_format
from google.protobuf.message import Message

from imgcap.errors import ConfigError
from serving.server.queue.options import BatchingOptions
from serving.server.settings import settings_pb2

M = TypeVar("M", bound=Message)


def read_text_proto(path: str | os.PathLike, message: M) -> M:
    """Fills a message from a text proto.

    Args:
        path: the file.
        message: an empty message of the type that the file holds.

    Returns:
        The message.

    Raises:
        ConfigError: the file can't be read, or is no text proto of that type.
    """
    try:
        return text_format.Parse(Path(path).read_text(encoding="utf-8"), message)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} can't be read ({getattr(error, 'strerror', 'not UTF-8')})"
        ) from None
    except text_format.ParseError as error:
        name = message.DESCRIPTOR.name
        raise ConfigError(f"{path} is no {name} text proto ({error}): mend that line") from None


def read_batching(path: str | os.PathLike) -> BatchingOptions:
    """Reads a --batching_parameters_file.

    Raises:
        ConfigError: unreadable, or a combination that the server refuses.
    """
    parameters = read_text_proto(path, settings_pb2.BatchingParameters())
    given = {
        name: getattr(parameters, field).value
        for field, name in _BATCHING_FIELDS.items()
        if parameters.HasField(field)
    }
    if "timeout_seconds" in given:
        given["timeout_seconds"] /= 1e6
    if parameters.pad_variable_length_inputs:
        raise ConfigError(
            f"{path} asks for pad_variable_length_inputs, which no captioner needs: remove it"
        )
    try:
        return BatchingOptions(**given, allowed_batch_sizes=tuple(parameters.allowed_batch_sizes))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def read_server_credentials(path: str | os.PathLike) -> grpc.ServerCredentials:
    """Reads an --ssl_config_file.

    Raises:
        ConfigError: unreadable, or without a key or a certificate.
    """
    ssl = read_text_proto(path, settings_pb2.SSLConfig())
    for field in ("server_key", "server_cert"):
        if "-----BEGIN" not in getattr(ssl, field):
            raise ConfigError(
                f"{path} has no PEM text in {field}: serving/deployment/make_test_keys.sh "
                "writes such a file"
            )
    if ssl.client_verify and not ssl.custom_ca:
        raise ConfigError(
            f"{path} asks for client_verify without a custom_ca to verify clients with: add it"
        )
    return grpc.ssl_server_credentials(
        [(ssl.server_key.encode(), ssl.server_cert.encode())],
        root_certificates=ssl.custom_ca.encode() or None,
        require_client_auth=ssl.client_verify,
    )


# Fields of the proto, and their names in `BatchingOptions`.
_BATCHING_FIELDS = {
    "max_batch_size": "max_batch_size",
    "batch_timeout_micros": "timeout_seconds",
    "max_enqueued_batches": "max_enqueued_batches",
    "num_batch_threads": "num_threads",
}
