"""The address of a model server: HOST:PORT, [IPv6]:PORT, and whether a proxy stands between."""

import contextlib
import ipaddress
import os
import re
import socket
from typing import NamedTuple
from urllib.parse import urlsplit

from imgcap.errors import ConfigError

_FORM = "give host:port, such as localhost:8500 or [::1]:8500"
_SCHEMES = re.compile(r"(dns|unix|unix-abstract|ipv4|ipv6|vsock|xds):(?!\d+$)")
"""How addresses begin that gRPC resolves by itself, such as `dns:///name:8500`."""

_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_.])?", re.IGNORECASE)
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
_AROUND = ("no_grpc_proxy", "no_proxy")


class Address(NamedTuple):
    """Where a server listens.

    Attributes:
        target: what gRPC connects to.
        host: name or number of the machine, without brackets; empty if gRPC finds it by itself.
        port: of the server; 0 if gRPC finds it by itself.
    """

    target: str
    host: str
    port: int


class Proxy(NamedTuple):
    """A proxy that the environment names.

    Attributes:
        url: its address, without a password.
        variable: which names it.
    """

    url: str
    variable: str


def parse_address(text: str) -> Address:
    """Reads the address of a server.

    Args:
        text: HOST:PORT, [IPv6]:PORT, or a name with a scheme of gRPC's own, such as `dns:///`.

    Raises:
        ConfigError: it is none.
    """
    if _SCHEMES.match(text):
        return Address(text, "", 0)
    if "://" in text:
        raise ConfigError(f"{text!r} is an address of the web, a model server speaks gRPC: {_FORM}")
    bracketed = re.fullmatch(r"\[([^\[\]]*)\](?::(.*))?", text)
    if bracketed:
        host, port = bracketed[1], bracketed[2] or ""
        _check_number(host, text)
    elif text.count(":") > 1:
        raise ConfigError(f"{text!r} has several colons: {_FORM}")
    else:
        name, _, port = text.partition(":")
        host = _to_ascii(name, text)
    if not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= 65535 and len(port) < 6):
        lacking = f"{port!r} is no port from 1 to 65535" if port else "it has no port"
        raise ConfigError(f"{text!r} is no address of a server, {lacking}: {_FORM}")
    return Address(f"[{host}]:{port}" if bracketed else f"{host}:{port}", host, int(port))


def _check_number(host: str, text: str) -> None:
    """Raises ConfigError unless a host in brackets is an IPv6 address."""
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        raise ConfigError(f"{text!r} has no IPv6 address in its brackets: {_FORM}") from None


def _to_ascii(name: str, text: str) -> str:
    """A host's name as it is looked up; names in other scripts have a form in ASCII."""
    encoded = ""
    with contextlib.suppress(UnicodeError):
        encoded = name if name.isascii() else name.encode("idna").decode("ascii")
    if not _NAME.fullmatch(encoded):
        why = f"{name!r} is no name of a machine" if name else "it names no machine"
        raise ConfigError(f"{text!r} is no address of a server, {why}: {_FORM}")
    return encoded


def find_proxy(address: Address) -> Proxy | None:
    """Finds the proxy through which gRPC reaches a server; None if there is none between.

    It knows the variables that gRPC's C++ core reads, all in lower case. A server on this machine
    is never reached through a proxy, by whatever name.
    """
    if not address.host:
        return None
    variable = next((name for name in _PROXIES if os.environ.get(name)), None)
    if variable is None or _goes_around(address.host) or is_this_machine(address.host):
        return None
    parts = urlsplit(os.environ[variable])
    if parts.scheme != "http" or not parts.hostname:
        return None  # gRPC knows no other kind, and goes without.
    return Proxy(f"http://{parts.netloc.rpartition('@')[2]}", variable)


def _goes_around(host: str) -> bool:
    """Whether `no_proxy` has a host, or the end of its name, or a network that has it."""
    listed = next((os.environ[name] for name in _AROUND if os.environ.get(name)), "")
    return any(_matches(host, entry.strip()) for entry in listed.split(",") if entry.strip())


def _matches(host: str, entry: str) -> bool:
    if host.lower().endswith(entry.lower()):
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    return False


def is_this_machine(host: str) -> bool:
    """Whether a host is this machine itself: by number, as localhost, or by a name for it."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return _is_loopback(host)
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return all(_is_loopback(str(address[0])) for *_, address in found)


def _is_loopback(number: str) -> bool:
    """Whether an address leads back to this machine; one of no machine does, when connected to.

    Raises:
        ValueError: it is a name, no number.
    """
    parsed = ipaddress.ip_address(number)
    inner = getattr(parsed, "ipv4_mapped", None) or parsed
    return inner.is_loopback or inner.is_unspecified
