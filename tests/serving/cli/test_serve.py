"""imgcap-serve as a process: its output, its end, and when it starts the real server instead."""

import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from imgcap.errors import ConfigError
from imgcap.run import pretrained
from serving.cli import serve
from serving.cli.serve import BINARY, ServeConfig, binary_command, with_threads
from serving.client import CaptionClient
from tests.support.paths import ROOT
from tests.support.servers import free_port
from tests.support.toy_model import write_toy_model

SERVE = [sys.executable, "-c", "import sys; from serving.cli.serve import main; sys.exit(main())"]


@pytest.fixture(scope="module")
def base_path(tmp_path_factory) -> Path:
    base_path = tmp_path_factory.mktemp("models") / "imgcap"
    write_toy_model(base_path / "1")
    return base_path


def run(*flags: str, path: str = "/nowhere") -> subprocess.CompletedProcess:
    return subprocess.run(
        [*SERVE, *flags],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env=os.environ | {"PATH": path},
    )


def fake_binary(folder: Path) -> None:
    (folder / BINARY).write_text('#!/bin/sh\nfor word in "$0" "$@"; do echo "$word"; done\n')
    (folder / BINARY).chmod(0o755)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serves_until_it_is_told_to_stop(base_path, number):
    flags = [
        f"--model_base_path={base_path}",
        "--port=0",
        "--embedded",
        "--tensorflow_intra_op_parallelism=1",
    ]
    process = subprocess.Popen(
        [*SERVE, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert "starting: loading TensorFlow" in process.stderr.readline()  # before the seconds
        ready = process.stdout.readline()
        match = re.fullmatch(
            r"serving imgcap version 1 on (localhost:\d+) after [\d.]+ s, Ctrl-C stops\n", ready
        )
        assert match, ready
        with CaptionClient(match[1]) as client:
            assert client.caption(b"four").text == "an image of 4 bytes"
        process.send_signal(number)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.stdout.close()
        process.stderr.close()


@pytest.mark.parametrize(
    "flags, status, message",
    [
        (
            ["--model_base_path=/no/models"],
            1,
            "/no/models does not exist: export a model with imgcap-export",
        ),
        ([], 1, "no captioner is called pretrained:flickr8k: this installation comes with none"),
        (["--model_base_path=x", "--port=70000"], 2, "--port=70000"),
        (["--model_base_path=x", "y"], 2, "unexpected argument 'y'"),
    ],
)
def test_wrong_use_is_one_line(capsys, monkeypatch, tmp_path, flags, status, message):
    monkeypatch.setattr(pretrained, "pretrained_folder", lambda: tmp_path)
    assert serve.main(["imgcap-serve", *flags]) == status
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_port_in_use_ends_the_process(base_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        done = run(f"--model_base_path={base_path}", f"--port={other.getsockname()[1]}")
    assert (
        done.returncode == 1 and "is in use: stop the other server" in done.stderr.splitlines()[-1]
    )


def test_real_server_is_taken_where_it_is_on_the_path(base_path, tmp_path):
    fake_binary(tmp_path)
    started = time.monotonic()
    done = run(
        f"--model_base_path={base_path}", "--port=8555", "--model_name=cap", path=str(tmp_path)
    )
    printed, *words = done.stdout.splitlines()
    assert done.returncode == 0 and time.monotonic() - started < 5  # no TensorFlow on the way
    assert words[0] == str(tmp_path / BINARY)
    assert {"--port=8555", "--model_name=cap", f"--model_base_path={base_path}"} <= set(words)
    assert printed == " ".join(words)


def test_real_server_gets_an_absolute_path(base_path, tmp_path, monkeypatch):
    fake_binary(tmp_path)
    calls = []
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(base_path.parent)
    monkeypatch.setattr(os, "execv", lambda *call: calls.append(call))
    assert serve.main(["imgcap-serve", "--model_base_path=imgcap"]) == 0
    assert f"--model_base_path={base_path}" in calls[0][1]


def test_real_server_is_not_started_on_a_missing_folder(tmp_path):
    fake_binary(tmp_path)
    done = run("--model_base_path=/no/models", path=str(tmp_path))
    assert done.returncode == 1 and done.stdout == "" and "/no/models does not exist" in done.stderr


def test_a_model_for_another_cpu_is_refused_before_the_real_server_aborts(tmp_path):
    fake_binary(tmp_path)
    for version, needed in (("1", ["no_such_cpu"]), ("2", [])):
        (tmp_path / "models" / version).mkdir(parents=True)
        (tmp_path / "models" / version / "manifest.json").write_text(
            json.dumps({"cpu_features": needed})
        )
    flags = [f"--model_base_path={tmp_path / 'models'}"]
    assert run(*flags, path=f"{tmp_path}:/bin").returncode == 0
    (tmp_path / "models" / "10").mkdir()
    (tmp_path / "models" / "10" / "manifest.json").write_text('{"cpu_features": ["no_such_cpu"]}')
    done = run(*flags, path=f"{tmp_path}:/bin")
    assert done.returncode == 1 and done.stdout == ""
    assert (
        "needs a CPU with no_such_cpu, which this machine lacks: serve it elsewhere" in done.stderr
    )


@pytest.mark.parametrize(
    ("server", "exported", "warns"),
    [
        ("2.20.0", "2.21.0", True),
        ("2.9.1", "2.21.0", True),  # by number, not by letter
        ("2.21.1-rc2", "2.21.0", False),
        ("2.21.0", "2.21.1", False),
        ("3.0.0", "2.21.0", False),
        ("nonsense", "2.21.0", False),
        ("2.20.0", "nonsense", False),
    ],
)
def test_a_server_older_than_the_export_is_named(tmp_path, capsys, server, exported, warns):
    text = f"TensorFlow ModelServer: 9.9.9\\nTensorFlow Library: {server}\\n"
    (tmp_path / BINARY).write_text(f"#!/bin/sh\n[ \"$*\" = --version ] && printf '{text}'\n")
    (tmp_path / BINARY).chmod(0o755)
    (tmp_path / "models" / "1").mkdir(parents=True)
    manifest = json.dumps({"tensorflow_version": exported})
    (tmp_path / "models" / "1" / "manifest.json").write_text(manifest)
    config = ServeConfig(model_base_path=str(tmp_path / "models"))
    serve.warn_if_older(str(tmp_path / BINARY), config)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        f"note: {BINARY} has TensorFlow {server}, and the newest version in {tmp_path / 'models'} "
        f"was exported by {exported}: if it cannot be loaded, take a server of that version, such "
        f"as the image tensorflow/serving:{exported}\n"
        if warns
        else ""
    )


def test_a_server_that_says_no_version_is_started_all_the_same(tmp_path, capsys):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "manifest.json").write_text('{"tensorflow_version": "2.21.0"}')
    serve.warn_if_older(str(tmp_path / "absent"), ServeConfig(model_base_path=str(tmp_path)))
    assert capsys.readouterr() == ("", "")


def test_threads_are_those_that_the_newest_export_asks_for(tmp_path):
    for version, text in {
        "2": '{"intra_op_threads": 3}',
        "10": '{"intra_op_threads": 1}',
        "x": "{",
    }.items():
        (tmp_path / version).mkdir()
        (tmp_path / version / "manifest.json").write_text(text)
    config = ServeConfig(str(tmp_path))
    assert with_threads(config).tensorflow_intra_op_parallelism == 1
    given = dataclasses.replace(config, tensorflow_intra_op_parallelism=0)
    assert with_threads(given).tensorflow_intra_op_parallelism == 0
    for broken in ("{", "[]", '{"intra_op_threads": null}'):
        (tmp_path / "10" / "manifest.json").write_text(broken)
        assert with_threads(config).tensorflow_intra_op_parallelism == 0
    assert with_threads(ServeConfig(str(tmp_path / "none"))).tensorflow_intra_op_parallelism == 0


def test_other_flags_reach_the_real_server(tmp_path):
    for name in ("models.config", "batching.config", "ssl.config"):
        (tmp_path / name).touch()
    config = ServeConfig(
        model_config_file=f"{tmp_path}/models.config",
        model_config_file_poll_wait_seconds=5,
        allow_version_labels_for_unavailable_models=True,
        enable_batching=True,
        metrics_port=8501,
        batching_parameters_file=f"{tmp_path}/batching.config",
        ssl_config_file=f"{tmp_path}/ssl.config",
    )
    words = set(binary_command("/bin/server", config)[1:])
    assert {
        f"--model_config_file={tmp_path}/models.config",
        "--model_config_file_poll_wait_seconds=5",
        "--enable_batching=true",
        "--rest_api_port=8501",
        "--allow_version_labels_for_unavailable_models=true",
        f"--batching_parameters_file={tmp_path}/batching.config",
        f"--ssl_config_file={tmp_path}/ssl.config",
        f"--monitoring_config_file={serve.MONITORING_CONFIG}",
        "--enable_grpc_healthcheck_service=true",
    } <= words
    assert not [
        word for word in words if word.startswith(("--model_base_path", "--model_name", "--host"))
    ]
    with pytest.raises(ConfigError, match="metrics on the REST port"):
        binary_command("/bin/server", ServeConfig("/m", metrics_port=1, rest_api_port=2))


@pytest.mark.parametrize(
    "flags, message",
    [
        (
            ["--model_base_path=/m", "--model_config_file=f"],
            "--model_base_path and --model_config_file are both given: give one of the two",
        ),
        (["--model_base_path=/m", "--batching_parameters_file=f"], "without --enable_batching"),
        (["--model_config_file=/no/file"], "--model_config_file=/no/file does not exist"),
        (
            ["--model_base_path=/m", "--ssl_config_file=/no/file"],
            "--ssl_config_file=/no/file does not exist",
        ),
        (["--model_base_path=/m", "--log_format=xml"], "--log_format"),
    ],
)
def test_flags_that_do_not_fit_are_status_2(capsys, flags, message):
    assert serve.main(["imgcap-serve", *flags]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "lists no model"),
        (
            "model_config_list { config { name: 'm' } }",
            "to have an absolute path or URI; got base_path()=",
        ),
        ("model_config_list { config { nome: 'm' } }", 'no field named "nome"'),
        (
            "model_config_list { config { name: 'm' base_path: '/no/m' model_platform: "
            "'tensorflow' } }",
            "/no/m does not exist",
        ),
        (
            "model_config_list { config { name: 'm' base_path: '/m' } }",
            "ModelServerConfig::model_platform",
        ),
    ],
)
def test_wrong_list_of_models_is_one_line(tmp_path, capsys, text, message):
    (tmp_path / "models.config").write_text(text)
    flags = [f"--model_config_file={tmp_path / 'models.config'}", "--embedded", "--port=0"]
    assert serve.main(["imgcap-serve", *flags]) != 0
    error = capsys.readouterr().err.splitlines()[-1]
    assert message in error


def test_json_log_metrics_and_batching_in_a_process(base_path, tmp_path):
    (tmp_path / "batching.config").write_text(
        "max_batch_size { value: 4 } num_batch_threads { value: 1 }"
    )
    metrics_port = free_port()
    flags = [
        f"--model_base_path={base_path}",
        "--port=0",
        "--embedded",
        "--log_format=json",
        "--log_requests",
        f"--metrics_port={metrics_port}",
        "--enable_batching",
        f"--batching_parameters_file={tmp_path / 'batching.config'}",
    ]
    process = subprocess.Popen(
        [*SERVE, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        target = re.search(r"localhost:\d+", process.stdout.readline())[0]
        with CaptionClient(target) as client:
            assert client.caption(b"four").text == "an image of 4 bytes"
        url = f"http://localhost:{metrics_port}/monitoring/prometheus/metrics"
        text = urllib.request.urlopen(url).read().decode()
        assert "batching_session:processed_batch_size_count{} 1" in text
        process.terminate()
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    entries = [json.loads(line) for line in errors.splitlines() if line.startswith("{")]
    assert process.returncode == 0
    words = [entry["message"].split()[0] for entry in entries]
    assert words == ["starting:", "loading", "model", "Predict", "stopping:"]
    assert entries[1]["version"] == entries[2]["version"] == 1 and entries[3]["status"] == "OK"


def test_a_folder_that_the_real_server_takes_for_a_pattern_is_refused(tmp_path):
    fake_binary(tmp_path)
    (tmp_path / "m[1]").mkdir()
    done = run(f"--model_base_path={tmp_path}/m[1]", path=f"{tmp_path}:/bin")
    assert done.returncode == 1 and done.stdout == ""
    assert f"takes model_base_path {tmp_path}/m[1] for a pattern: give it a symbolic" in done.stderr
    (tmp_path / "m1").symlink_to("m[1]")
    assert run(f"--model_base_path={tmp_path}/m1", path=f"{tmp_path}:/bin").returncode == 0
