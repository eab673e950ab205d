"""Servers for tests by the same flags: the embedded one and, if it is installed, the real one."""

import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import pytest

from serving.cli.serve import (
    BINARY,
    ServeConfig,
    binary_command,
    check,
    model_list,
    server_options,
    with_threads,
)
from serving.server.local_server import LocalServer
from tests.support.paths import ROOT

KINDS = ("embedded", "real")

MAX_BYTES = 8 * 2**30
"""Memory that a server in a process of its own may take."""

ADDRESS = "IMGCAP_TF_SERVING"
"""Environment variable with the address of a real server that holds the toy."""


class Running(NamedTuple):
    """The addresses of a server that runs.

    Attributes:
        target: host:port of gRPC.
        http: host:port of REST and metrics.
    """

    target: str
    http: str


@contextmanager
def running(kind: str, **flags: Any) -> Iterator[Running]:
    """Runs a server with these fields of `ServeConfig`, and an HTTP port.

    Skips the test if the real server is asked for and there is no binary of it.

    Args:
        kind: one of `KINDS`.
        flags: fields of `ServeConfig`.
    """
    config = ServeConfig(**flags, port=free_port(), rest_api_port=free_port())
    check(config)
    config = with_threads(config)
    addresses = Running(f"localhost:{config.port}", f"localhost:{config.rest_api_port}")
    if kind == "embedded":
        with LocalServer(model_list(config), server_options(config)):
            yield addresses
        return
    if not shutil.which(BINARY):
        pytest.skip(f"no {BINARY} on PATH")
    process = subprocess.Popen(binary_command(shutil.which(BINARY), config))
    try:
        _wait(addresses.target, process)
        yield addresses
    finally:
        process.terminate()
        process.wait()


class ServerProcess(NamedTuple):
    """A server in a process of its own.

    Attributes:
        target: host:port of gRPC.
        http: host:port of REST and metrics.
        process: its process.
    """

    target: str
    http: str
    process: subprocess.Popen

    @property
    def alive(self) -> bool:
        """Whether it runs still."""
        return self.process.poll() is None

    def megabytes(self) -> float:
        """Resident memory now; 0 if the process has ended."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return 0.0
        found = re.search(r"VmRSS:\s+(\d+)", status)
        return int(found[1]) / 1024 if found else 0.0


def _limit_memory(process: subprocess.Popen) -> None:
    """Lets a server that takes too much die alone, and not the machine.

    Set from outside: with a `preexec_fn`, Popen would fork, and gRPC, which runs in the test's own
    process, restarts its pollers in a forked child; they abort it once Popen has closed their
    descriptors.
    """
    resource.prlimit(process.pid, resource.RLIMIT_DATA, (MAX_BYTES, MAX_BYTES))


@contextmanager
def server_process(kind: str, **flags: Any) -> Iterator[ServerProcess]:
    """Runs a server as `running` does, in a process that may die without the test.

    Args:
        kind: one of `KINDS`.
        flags: fields of `ServeConfig`.
    """
    config = with_threads(ServeConfig(**flags, port=free_port(), rest_api_port=free_port()))
    check(config)
    if kind == "real":
        if not shutil.which(BINARY):
            pytest.skip(f"no {BINARY} on PATH")
        command = binary_command(shutil.which(BINARY), config)
    else:
        script = "import sys; from serving.cli.serve import main; sys.exit(main())"
        given = {**flags, "port": config.port, "rest_api_port": config.rest_api_port}
        command = [sys.executable, "-c", script, "--embedded"]
        command += [
            f"--{name}={str(value).lower() if value in (True, False) else value}"
            for name, value in given.items()
        ]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
        server = ServerProcess(
            f"localhost:{config.port}", f"localhost:{config.rest_api_port}", process
        )
        try:
            _limit_memory(process)
            _wait(server.target, process, output)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(target: str, process: subprocess.Popen, output: TextIO) -> None:
    """Waits for the port, which opens only when the models are loaded."""
    host, port = target.split(":")
    end = time.monotonic() + 180
    while True:
        if process.poll() is not None or time.monotonic() > end:
            output.seek(0)
            said = output.read()[-2000:]
            raise AssertionError(f"the server did not come up ({process.returncode}): {said}")
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.1)


def free_port() -> int:
    """A port that no program uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def address_given() -> str:
    """The address of a real server that holds the toy, from the environment; empty without one."""
    return os.environ.get(ADDRESS, "")
