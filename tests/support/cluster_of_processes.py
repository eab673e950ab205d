"""Worker processes of one run over loopback, for the tests."""

import json
import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

PATIENCE = 240.0


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens to, all different."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("localhost", 0))
        return [probe.getsockname()[1] for probe in probes]


def tf_config(ports: list[int], index: int) -> str:
    """What a scheduler puts into TF_CONFIG."""
    cluster = {"worker": [f"localhost:{port}" for port in ports]}
    return json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})


def fork_server() -> multiprocessing.context.BaseContext:
    """TensorFlow is imported once, in the fork server; each worker then starts in a second."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["imgcap.training.loop"])
    return context


def train_here(folder: Path, name: str, environment: str, flags: list[str], apart: bool) -> None:
    """Trains in this process: what it says goes to `<name>.out` and `<name>.err`, its last weights
    to `<name>.npz`.
    """
    if apart:
        os.chdir(folder / name)
    from imgcap.cli import train
    from imgcap.training import loop

    for number, suffix in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / f"{name}.{suffix}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ["TF_CONFIG"] = environment
    train_epochs = loop._train_epochs

    def and_keep_weights(run, *more):
        end = train_epochs(run, *more)
        variables = [*run.captioner.decoder.variables, *run.captioner.encoder.variables]
        np.savez(folder / f"{name}.npz", *(variable.numpy() for variable in variables))
        return end

    loop._train_epochs = and_keep_weights
    status = train.main(["imgcap-train", *flags])
    os.sys.stdout.flush()
    os._exit(status)


@contextmanager
def started(
    context: multiprocessing.context.BaseContext,
    folder: Path,
    names: list[str],
    flags: list[str],
    apart: bool = False,
) -> Iterator[list[multiprocessing.process.BaseProcess]]:
    """Worker processes of one cluster, killed at the end if they still run; `apart` puts each into
    a folder by its name.
    """
    ports = free_ports(len(names))
    processes = [
        context.Process(
            target=train_here, args=(folder, name, tf_config(ports, index), flags, apart)
        )
        for index, name in enumerate(names)
    ]
    try:
        for process in processes:
            process.start()
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.join()


def exit_codes(
    processes: list[multiprocessing.process.BaseProcess], patience: float = PATIENCE
) -> list[int | None]:
    """Waits for all; None stands for one that still runs."""
    deadline = time.monotonic() + patience
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
    return [process.exitcode for process in processes]


def wait_until(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Waits, and fails if it was in vain."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
