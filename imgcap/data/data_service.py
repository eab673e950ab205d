"""tf.data services, each of one dispatcher and one worker, which decode training images for other
machines.
"""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from imgcap.config import DataServiceConfig
from imgcap.data.batches import OUT_OF_ORDER
from imgcap.errors import ConfigError, DataError

PROTOCOL = "grpc"
ANSWER_SECONDS = 5.0


@contextmanager
def running(config: DataServiceConfig) -> Iterator[str]:
    """Runs a service while the context lasts.

    Args:
        config: ports and host.

    Yields:
        Its address, as trainers name it.

    Raises:
        ConfigError: a port is taken.
    """
    service = tf.data.experimental.service
    host = config.host or socket.gethostname()
    _refuse_taken_port("port", config.port)
    _refuse_taken_port("worker_port", config.worker_port)
    dispatcher = service.DispatchServer(
        service.DispatcherConfig(port=config.port, protocol=PROTOCOL)
    )
    # Trainers fetch from the worker itself, so it must go by a name that they can reach.
    worker = service.WorkerServer(
        service.WorkerConfig(
            dispatcher_address=f"localhost:{config.port}",
            worker_address=f"{host}:%port%",
            port=config.worker_port,
            protocol=PROTOCOL,
        )
    )
    try:
        yield f"{PROTOCOL}://{host}:{config.port}"
    finally:
        # The worker first: without its dispatcher it would complain.
        del worker
        del dispatcher


def _refuse_taken_port(flag: str, port: int) -> None:
    # TensorFlow ends the process at a port that is taken.
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise ConfigError(
                f"--{flag}={port} can't be opened ({error.strerror}): choose another port"
            ) from None


def serve(config: DataServiceConfig) -> None:
    """Serves until Ctrl-C or SIGTERM.

    Args:
        config: ports and host.

    Raises:
        ConfigError: a port is taken.
    """
    ends = {signal.SIGINT, signal.SIGTERM}
    # Blocked before the servers' threads start, which inherit it: so the signal waits for the line
    # below.
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        with running(config) as address:
            print(f"decoding for imgcap-train --data_service={address}; Ctrl-C ends it", flush=True)
            signal.sigwait(ends)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ends)


def refuse_absent(addresses: str) -> None:
    """Raises ConfigError if a service does not answer; tf.data itself would wait for an hour.

    Args:
        addresses: value of --data_service.
    """
    for address in filter(None, addresses.split(",")):
        host, _, port = address.removeprefix(f"{PROTOCOL}://").rpartition(":")
        try:
            socket.create_connection((host, int(port)), ANSWER_SECONDS).close()
        except OSError as error:
            raise ConfigError(
                f"--data_service={address} does not answer ({error.strerror or error}): start "
                f"imgcap-data-service --port={port} there"
            ) from None


def as_data_error(error: tf.errors.OpError, addresses: str, data_dir: str) -> DataError | None:
    """Finds out what TensorFlow's error about a data service means for the user.

    Args:
        error: raised while batches were read.
        addresses: value of --data_service.
        data_dir: value of --data_dir.

    Returns:
        The error to raise in its place; None if no service is used or the error says nothing of it.
    """
    if not addresses:
        return None
    if OUT_OF_ORDER in error.message:
        return DataError(
            f"--data_service={addresses}: {OUT_OF_ORDER}: start each by imgcap-data-service alone"
        )
    if isinstance(error, tf.errors.NotFoundError):
        return DataError(
            f"--data_service={addresses}: a service can't find the shards of "
            f"--data_dir={data_dir}: give it the data under the same path, or an absolute one"
        )
    return None
