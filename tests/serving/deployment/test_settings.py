"""The server's settings: each field is known, and a server that has them serves."""

import json
import re
import shutil
import subprocess
import time

import grpc
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from imgcap.signature import BATCH_SIZES
from serving.client import CaptionClient
from serving.server.settings.text_protos import read_batching
from tests.serving.deployment.files import DEPLOYMENT, README, compose
from tests.support.servers import KINDS, running
from tests.support.toy_model import write_toy_model
from tests.support.waiting import wait_for


def test_models_config():
    models = text_format.Parse((DEPLOYMENT / "models.config").read_text(), ModelServerConfig())
    (model,) = models.model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == (
        "imgcap",
        "/models/imgcap",
        "tensorflow",
    )
    assert set(model.version_labels) == {"stable", "canary"}
    assert set(model.version_labels.values()) <= set(model.model_version_policy.specific.versions)


def test_batching_config():
    options = read_batching(DEPLOYMENT / "batching.config")
    assert options.allowed_batch_sizes[-1] == options.max_batch_size >= 8
    assert options.allowed_batch_sizes == BATCH_SIZES  # exports are warmed up for these
    assert 0 < options.timeout_seconds <= 0.01  # a lone client pays all of it


@pytest.mark.parametrize("kind", KINDS)
def test_shipped_settings_serve(kind, tmp_path):
    write_toy_model(tmp_path / "imgcap" / "1")
    text = (
        (DEPLOYMENT / "models.config").read_text().replace("/models/imgcap", f"{tmp_path}/imgcap")
    )
    (tmp_path / "models.config").write_text(text)
    settings = {
        "model_config_file": str(tmp_path / "models.config"),
        "allow_version_labels_for_unavailable_models": True,
        "enable_batching": True,
        "batching_parameters_file": str(DEPLOYMENT / "batching.config"),
    }
    with running(kind, **settings) as server:
        for label in ("stable", "canary"):
            with CaptionClient(server.target, label=label) as client:
                assert client.caption(b"four").text == "an image of 4 bytes"
        check = compose()["services"]["serving-cpu"]["healthcheck"]["test"]
        command = check[-1].replace("127.0.0.1/8501", server.http.replace(":", "/"))
        assert (
            shutil.which(check[1])
            and subprocess.run([*check[1:-1], command], timeout=10).returncode == 0
        )
    assert (
        subprocess.run([*check[1:-1], command], timeout=10, stderr=subprocess.DEVNULL).returncode
        != 0
    )


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("kind", KINDS)
def test_curl_as_the_instructions_say(kind, tmp_path):
    write_toy_model(tmp_path / "models" / "1")
    (tmp_path / "photo.jpg").write_bytes(b"four")
    (line,) = re.findall(r"^curl .+$", README.read_text(encoding="utf-8"), re.MULTILINE)
    with running(kind, model_base_path=str(tmp_path / "models")) as server:
        command = line.replace("localhost:8501", server.http)
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=20
        )
    assert json.loads(done.stdout)["predictions"][0]["caption"] == "an image of 4 bytes"


@pytest.mark.parametrize("kind", KINDS)
def test_rollout_and_rollback_as_the_instructions_say(kind, tmp_path):
    base_path, path = tmp_path / "imgcap", tmp_path / "models.config"
    write_toy_model(base_path / "1", "one")
    text = (DEPLOYMENT / "models.config").read_text().replace("/models/imgcap", str(base_path))
    path.write_text(text)
    settings = {
        "model_config_file": str(path),
        "model_config_file_poll_wait_seconds": 1,
        "allow_version_labels_for_unavailable_models": True,
    }

    def word(label: str) -> str:
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.version_label = "imgcap", label
        request.inputs["image_bytes"].dtype = 7
        request.inputs["image_bytes"].tensor_shape.dim.add(size=1)
        request.inputs["image_bytes"].string_val.append(b"x")
        with grpc.insecure_channel(server.target) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            return (
                stub.Predict(request, timeout=20)
                .outputs["caption"]
                .string_val[0]
                .split()[0]
                .decode()
            )

    def available() -> list[int]:
        with CaptionClient(server.target) as client:
            return [entry.version for entry in client.status() if entry.state == "AVAILABLE"]

    with running(kind, **settings) as server:
        write_toy_model(base_path / "2", "two")
        both = text.replace("versions: 1", "versions: 1 versions: 2")
        canary = re.sub(r'(key: "canary"\s+value:) 1', r"\1 2", both)
        path.write_text(canary)  # load and label in one edit: refused whole, again and again
        time.sleep(2.5)
        assert word("canary") == "one" and available() == [1]
        path.write_text(both)
        wait_for(lambda: available() == [1, 2], seconds=30.0)
        path.write_text(canary)
        wait_for(lambda: word("canary") == "two", seconds=30.0)
        assert word("stable") == "one"
        path.write_text(re.sub(r'(key: "stable"\s+value:) 1', r"\1 2", canary))
        wait_for(lambda: word("stable") == "two", seconds=30.0)
        path.write_text(canary)
        wait_for(lambda: word("stable") == "one", seconds=30.0)
