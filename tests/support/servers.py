"""Servers for tests: the embedded one and, where there is a binary, the real one, by the same
flags.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from serving.cli import serve
from serving.cli.serve import BINARY, ServeConfig
from serving.server.local_server import LocalServer

KINDS = ("embedded", "real")
ADDRESS = "IMGCAP_TF_SERVING"


class Running(NamedTuple):
    """Where a server listens: host:port of gRPC and of HTTP."""

    target: str
    http: str


@contextmanager
def running(kind: str, **flags: Any) -> Iterator[Running]:
    """A server with these fields of `ServeConfig`; it has an HTTP port too.

    Skips where the real one is wanted and there is no binary for it.
    """
    config = ServeConfig(**flags, port=free_port(), rest_api_port=free_port())
    serve.check(config)
    config = serve.with_threads(config)
    addresses = Running(f"localhost:{config.port}", f"localhost:{config.rest_api_port}")
    if kind == "embedded":
        with LocalServer(serve.model_list(config), serve.server_options(config)):
            yield addresses
        return
    if not shutil.which(BINARY):
        pytest.skip(f"no {BINARY} on PATH")
    process = subprocess.Popen(serve.binary_command(shutil.which(BINARY), config))
    try:
        _wait(addresses.target, process)
        yield addresses
    finally:
        process.terminate()
        process.wait()


def _wait(target: str, process: subprocess.Popen) -> None:
    """The port opens only when the models are loaded."""
    host, port = target.split(":")
    end = time.monotonic() + 60
    while True:
        assert process.poll() is None and time.monotonic() < end, "the real server did not come up"
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.1)


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def address_given() -> str:
    """The address of a real server that holds the toy, from the environment; empty where there is
    none.
    """
    return os.environ.get(ADDRESS, "")
