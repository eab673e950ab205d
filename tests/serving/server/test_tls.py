"""TLS from end to end, with keys made on the spot by the script that the documents name."""

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest

from imgcap.errors import ConfigError
from serving.cli import caption
from serving.client import AsyncCaptionClient, CaptionClient, ServerUnavailable, Tls
from serving.server.settings.text_protos import read_server_credentials
from tests.support.paths import ROOT
from tests.support.servers import KINDS, running
from tests.support.toy_model import write_toy_model

SCRIPT = ROOT / "serving" / "deployment" / "make_test_keys.sh"
pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    subprocess.run([SCRIPT, folder], check=True, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture(scope="module", params=KINDS)
def server(request, keys, tmp_path_factory):
    base_path = tmp_path_factory.mktemp("models")
    write_toy_model(base_path / "1")
    flags = {"model_base_path": str(base_path), "ssl_config_file": str(keys / "ssl.config")}
    with running(request.param, **flags) as server:
        yield server


def test_client_trusts_the_authority_it_was_given(server, keys):
    with CaptionClient(server.target, tls=Tls(ca=keys / "ca.pem")) as client:
        assert client.caption(b"four").text == "an image of 4 bytes"


def test_awaitable_client_too(server, keys):
    async def ask() -> str:
        async with AsyncCaptionClient(server.target, tls=Tls(ca=keys / "ca.pem")) as client:
            return (await client.caption(b"four")).text

    assert asyncio.run(ask()) == "an image of 4 bytes"


def test_stranger_is_not_trusted_and_plain_text_not_understood(server):
    for tls in (Tls(), None):
        with (
            CaptionClient(server.target, tls=tls, retries=0) as client,
            pytest.raises(ServerUnavailable),
        ):
            client.caption(b"four")


def test_untrusted_certificate_is_said(server):
    with (
        CaptionClient(server.target, tls=Tls(), retries=0) as client,
        pytest.raises(ServerUnavailable, match="can't be talked to securely.*check --tls"),
    ):
        client.caption(b"four")


def test_no_server_over_tls():
    with (
        CaptionClient("localhost:1", tls=Tls(), retries=0) as client,
        pytest.raises(ServerUnavailable, match="over TLS"),
    ):
        client.caption(b"four")


def test_command(server, keys, tmp_path, capsys):
    (tmp_path / "a.jpg").write_bytes(b"four")
    arguments = [
        "imgcap-caption",
        str(tmp_path),
        f"--server={server.target}",
        f"--tls_ca={keys / 'ca.pem'}",
    ]
    assert caption.main(arguments) == 0
    assert capsys.readouterr().out.endswith("\tan image of 4 bytes\n")


@pytest.mark.parametrize("kind", KINDS)
def test_server_that_verifies_its_clients(kind, keys, tmp_path):
    write_toy_model(tmp_path / "models" / "1")
    text = (keys / "ssl.config").read_text().replace("client_verify: false", "client_verify: true")
    (tmp_path / "ssl.config").write_text(text)
    flags = {
        "model_base_path": str(tmp_path / "models"),
        "ssl_config_file": str(tmp_path / "ssl.config"),
    }
    known = Tls(keys / "ca.pem", keys / "client.pem", keys / "client.key")
    with running(kind, **flags) as server:
        with CaptionClient(server.target, tls=known) as client:
            assert client.caption(b"four").text == "an image of 4 bytes"
        unknown = CaptionClient(server.target, tls=Tls(ca=keys / "ca.pem"), retries=0)
        with unknown as client, pytest.raises(ServerUnavailable):
            client.caption(b"four")


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "no PEM text in server_key: serving/deployment/make_test_keys.sh writes such a file"),
        ('server_key: "/etc/server.key"', "no PEM text in server_key"),
        (
            'server_key: "-----BEGIN" server_cert: "-----BEGIN" client_verify: true',
            "without a custom_ca",
        ),
        ("serverkey: 3", "is no SSLConfig text proto"),
    ],
)
def test_wrong_server_file_is_one_line(tmp_path, text, message):
    (tmp_path / "ssl.config").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_server_credentials(tmp_path / "ssl.config")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "tls, message",
    [
        (Tls(ca="/no/ca.pem"), "/no/ca.pem can't be read .No such file"),
        (Tls(certificate="client.pem"), "belong together"),
    ],
)
def test_wrong_client_files_are_one_line(tls, message):
    with pytest.raises(ConfigError, match=message):
        CaptionClient("localhost:1", tls=tls)
