"""Addresses of servers: IPv6, what is none, and proxies, never before this machine itself."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from imgcap.errors import ConfigError
from serving.cli import benchmark, caption, page
from serving.client import CaptionClient, ServerUnavailable
from serving.client.address import Address, find_proxy, is_this_machine, parse_address
from serving.page.settings import Settings, start_command
from tests.support.fake_server import length_of, serving
from tests.support.servers import free_port

PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:8500", Address("localhost:8500", "localhost", 8500)),
        ("127.0.0.1:1", Address("127.0.0.1:1", "127.0.0.1", 1)),
        ("[::1]:8500", Address("[::1]:8500", "::1", 8500)),
        ("[fe80::1%eth0]:65535", Address("[fe80::1%eth0]:65535", "fe80::1%eth0", 65535)),
        ("my_host.example.:80", Address("my_host.example.:80", "my_host.example.", 80)),
        ("bücher.example:80", Address("xn--bcher-kva.example:80", "xn--bcher-kva.example", 80)),
        ("dns:///captioner:8500", Address("dns:///captioner:8500", "", 0)),
        ("unix:/run/captioner", Address("unix:/run/captioner", "", 0)),
        ("dns:8500", Address("dns:8500", "dns", 8500)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("http://localhost:8501", "is an address of the web, a model server speaks gRPC"),
        ("localhost", "is no address of a server, it has no port"),
        ("localhost:", "is no address of a server, it has no port"),
        ("localhost:0", "'0' is no port from 1 to 65535"),
        ("localhost:65536", "'65536' is no port from 1 to 65535"),
        ("localhost:" + "9" * 5000, "is no port from 1 to 65535"),
        ("localhost:²", "'²' is no port from 1 to 65535"),
        ("localhost:-1", "'-1' is no port from 1 to 65535"),
        (":8500", "it names no machine"),
        ("two words:8500", "'two words' is no name of a machine"),
        ("a/b:8500", "'a/b' is no name of a machine"),
        ("new\nline:8500", "is no name of a machine"),
        ("a" * 300 + ":8500", "is no name of a machine"),
        ("caf\udce9:8500", "is no name of a machine"),
        ("::1", "has several colons: give host:port, such as localhost:8500 or [::1]:8500"),
        ("::1:8500", "has several colons"),
        ("[::1]", "it has no port"),
        ("[::g]:8500", "has no IPv6 address in its brackets"),
        ("[127.0.0.1]:8500", "has no IPv6 address in its brackets"),
        ("[::1]8500", "has several colons"),
    ],
)
def test_what_is_no_address(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(text)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_command_refuses_what_is_no_address(capsys: pytest.CaptureFixture[str]) -> None:
    for one in (caption, benchmark, page):
        assert one.main([one.COMMAND.name, "--server=::1"]) == 2
        assert capsys.readouterr().err == (
            f"{one.COMMAND.name}: error: --server='::1' has several colons: give host:port, such "
            "as localhost:8500 or [::1]:8500\n"
        )


def test_a_server_on_ipv6() -> None:
    with serving(length_of, host="[::1]") as target:
        assert target.startswith("[::1]:")
        with CaptionClient(target) as client:
            assert client.caption(b"four").text == "4"
        port = target.rpartition(":")[2]
        settings = Settings(target, "imgcap", "", "decode")
        assert start_command(settings) == f"imgcap-serve --port={port} --host=::1"


def test_of_several_addresses_the_one_that_answers_is_used() -> None:
    with serving(length_of) as target:
        both = f"ipv4:127.0.0.1:{free_port()},{target}"
        with CaptionClient(both) as client:
            assert [client.caption(b"four").text for _ in range(4)] == ["4"] * 4


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("a.localhost", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", True),
        ("::", True),
        ("10.0.0.1", False),
        ("2001:db8::1", False),
        ("localhost.example", False),
    ],
)
def test_this_machine(host: str, here: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*arguments: object, **values: object) -> list[object]:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert is_this_machine(host) == here


def test_a_name_for_this_machine_is_found_by_its_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbers = {"me": ["127.0.1.1", "::1"], "both": ["::1", "10.0.0.1"]}
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *_, **__: [(0, 0, 0, "", (number, 0)) for number in numbers[host]],
    )
    assert is_this_machine("me") and not is_this_machine("both")


@pytest.mark.parametrize(
    ("variables", "variable"),
    [
        ({}, None),
        ({"http_proxy": "http://p:3"}, "http_proxy"),
        ({"http_proxy": "http://p:3", "https_proxy": "http://p:3"}, "https_proxy"),
        ({"https_proxy": "http://p:3", "grpc_proxy": "http://p:3"}, "grpc_proxy"),
        ({"http_proxy": "https://p:3"}, None),
        ({"http_proxy": "http://p:3", "no_proxy": "x, 10.1.2.3"}, None),
        ({"http_proxy": "http://p:3", "no_proxy": "10.0.0.0/8"}, None),
        ({"http_proxy": "http://p:3", "no_proxy": "11.0.0.0/8,.example"}, "http_proxy"),
        # The first of the two counts alone.
        ({"http_proxy": "http://p:3", "no_proxy": "10.1.2.3", "no_grpc_proxy": "x"}, "http_proxy"),
    ],
)
def test_which_proxy_stands_between(
    variables: dict[str, str], variable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    proxy = find_proxy(parse_address("10.1.2.3:8500"))
    assert (proxy and proxy.variable) == variable


@contextmanager
def refusing_proxy() -> Iterator[tuple[str, list[str]]]:
    """A proxy that notes whom it should reach, and refuses; yields host:port and its notes."""
    asked: list[str] = []

    def answer() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                asked.append(connection.recv(4096).decode().partition("\r\n")[0])
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", asked
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("variable", ["grpc_proxy", "https_proxy", "http_proxy"])
def test_this_machine_is_never_asked_through_a_proxy(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with refusing_proxy() as (proxy, asked), serving(length_of) as target:
        monkeypatch.setenv(variable, f"http://{proxy}")
        for address in (target, target.replace("127.0.0.1", "localhost")):
            with CaptionClient(address, retries=0) as client:
                assert client.caption(b"four").text == "4"
    assert asked == []


def test_an_error_through_a_proxy_names_it_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with refusing_proxy() as (proxy, asked):
        monkeypatch.setenv("http_proxy", f"http://anna:secret@{proxy}")
        with (
            CaptionClient("captioner.invalid:8500", retries=0) as client,
            pytest.raises(ServerUnavailable) as caught,
        ):
            client.caption(b"four")
    said = str(caught.value)
    assert said.startswith(
        f"no model server answers at captioner.invalid:8500 through the proxy http://{proxy}, "
        "which http_proxy names ("
    )
    assert said.endswith("): set no_proxy=captioner.invalid to ask it directly, or mend the proxy")
    assert "secret" not in said
    assert set(asked) == {"CONNECT captioner.invalid:8500 HTTP/1.1"}
