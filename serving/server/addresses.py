"""Addresses to listen on: IPv4, IPv6 and names, and what stands in the way of listening there."""

import errno
import socket

from imgcap.errors import ServingError


def plain_host(host: str) -> str:
    """A host without the brackets that an address of IPv6 has beside a port."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def join(host: str, port: int) -> str:
    """Makes HOST:PORT, or [HOST]:PORT of an address of IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def check_port(host: str, port: int) -> None:
    """Tries to listen on every address of a host.

    Args:
        host: an address without brackets, or a name.
        port: number of the port; 0 is a free one.

    Raises:
        ServingError: the port is taken, or the host is not an address of this machine.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        errors = [_try(family, address, host) for family, _, _, _, address in dict.fromkeys(found)]
    except (socket.gaierror, UnicodeError):
        raise ServingError(
            f"host {host} is not known: give an address of this machine, such as 127.0.0.1"
        ) from None
    failed = [error for error in errors if error is not None]
    for error in failed:
        if isinstance(error, PermissionError):
            raise ServingError(
                f"port {port} may not be used by this account: choose one above 1023"
            )
        if error.errno == errno.EADDRINUSE:
            raise port_in_use(host, port)
    if len(failed) == len(errors):  # a name with an address that is not there has another
        raise ServingError(
            f"can't listen on {join(host, port)} ({failed[0].strerror}): choose another --host or "
            "--port"
        )


def _try(family: int, address: tuple, host: str) -> OSError | None:
    """Listens for a moment; returns what stood in the way."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # "::" is every address of IPv6 and IPv4.
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")
            probe.bind(address)
            probe.listen(1)  # binding alone succeeds if another socket only reserves the port
    except OSError as error:
        return error
    return None


def port_in_use(host: str, port: int) -> ServingError:
    """Makes the error of a port that another program listens on."""
    return ServingError(
        f"port {port} on {host} is in use: stop the other server or choose another --port"
    )
