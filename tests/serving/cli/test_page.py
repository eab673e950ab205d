"""imgcap-page: the page's own command, and Streamlit's settings."""

import configparser
import importlib.util
import os
import subprocess
import sys
import urllib.request

import pytest

from serving.cli import page
from serving.cli.page import PageConfig, page_environment, streamlit_arguments
from serving.page.options import STREAMLIT_OPTIONS
from tests.support.paths import ROOT
from tests.support.servers import free_port
from tests.support.waiting import wait_for

PAGE = [sys.executable, "-c", "import sys; from serving.cli.page import main; sys.exit(main())"]


def test_checkout_has_the_same_settings():
    parser = configparser.ConfigParser()
    parser.optionxform = str  # names keep their capitals
    parser.read(ROOT / ".streamlit" / "config.toml")
    written = {
        f"{section}.{name}": value.strip('"')
        for section in parser.sections()
        for name, value in parser.items(section)
    }
    assert written == {name: str(value).lower() for name, value in STREAMLIT_OPTIONS.items()}


def test_flags_become_streamlits():
    words = streamlit_arguments(PageConfig(port=80, host="0.0.0.0"))
    assert words[0] == "run" and words[1].endswith("/serving/page/script.py")
    assert {
        "--server.port=80",
        "--server.address=0.0.0.0",
        "--server.maxUploadSize=200",
        "--server.showEmailPrompt=false",
        "--browser.gatherUsageStats=false",
        "--client.toolbarMode=viewer",
        "--client.showErrorDetails=none",
        "--server.baseUrlPath=",
    } <= set(words)
    assert "--server.headless=true" not in words
    assert "--server.headless=true" in streamlit_arguments(PageConfig(open_browser=False))


@pytest.mark.parametrize("path", ["captions", "/captions/", "/a/b-c_d.e"])
def test_path_behind_a_proxy(path):
    words = streamlit_arguments(PageConfig(base_url_path=path))
    assert f"--server.baseUrlPath={path.strip('/')}" in words


@pytest.mark.parametrize("path", ["a b", "a//b", "..", "a/../b", "a?b", "https://host/a", "ä"])
def test_what_is_no_path_is_one_line(path, capsys):
    assert page.main(["imgcap-page", f"--base_url_path={path}"]) == 2
    error = capsys.readouterr().err
    assert f"--base_url_path={path} is no path" in error and error.count("\n") == 1


def test_flags_reach_the_page():
    assert page_environment(PageConfig()) == {}
    given = page_environment(PageConfig(server="host:1", tls_ca="ca.pem"))
    assert given == {"IMGCAP_SERVER": "host:1", "IMGCAP_TLS_CA": "ca.pem"}


def test_streamlit_that_is_missing_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert page.main(["imgcap-page"]) == 2
    error = capsys.readouterr().err
    assert "pip install 'imgcap-tf[app]'" in error and error.count("\n") == 1


def test_certificate_that_is_missing_is_one_line(capsys):
    assert page.main(["imgcap-page", "--tls_ca=/no/ca.pem"]) == 2
    assert "--tls_ca=/no/ca.pem does not exist" in capsys.readouterr().err


def test_first_start_outside_the_checkout_asks_nothing(tmp_path):
    port, home = free_port(), tmp_path / "home"
    home.mkdir()
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*PAGE, f"--port={port}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}"), seconds=60.0)
    finally:
        process.terminate()
        output, _ = process.communicate(timeout=20)
    assert f"http://127.0.0.1:{port}" in output
    assert "email" not in output.lower() and "usage statistics" not in output.lower()
    assert not list(home.iterdir())


def answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(f"{url}/_stcore/health", timeout=5).status == 200
    except OSError:
        return False
