"""Proxies of the environment, which gRPC would take even to this machine."""

import os
import socket

_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
_AROUND = ("no_grpc_proxy", "no_proxy")
"""Variables with hosts that are reached directly; of the two gRPC reads the first that is set."""


def keep_local_calls_direct() -> None:
    """Lets this process and its children reach this machine without a proxy.

    TensorFlow's workers and data services speak gRPC with each other, and would wait for ever for a
    proxy that cannot reach them.
    """
    if not any(os.environ.get(name) for name in _PROXIES):
        return
    given = next((os.environ[name] for name in _AROUND if os.environ.get(name)), "")
    here = ["localhost", "127.0.0.1", "::1", socket.gethostname()]
    os.environ[_AROUND[0]] = ",".join([*filter(None, [given]), *here])
