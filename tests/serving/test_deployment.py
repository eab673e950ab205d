"""The deployment's files: no flag misspelt, no setting unknown, and what they say can be served."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import grpc
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from imgcap.signature import BATCH_SIZES
from serving.client import CaptionClient
from serving.server.fronts.http.application import METRICS_PATH
from serving.server.metrics import Metrics
from serving.server.settings import settings_pb2
from serving.server.settings.text_protos import read_batching, read_text_proto
from tests.support.command_lines import flags_of, load_commands, used_flags
from tests.support.paths import ROOT
from tests.support.servers import KINDS, running
from tests.support.toy_model import write_toy_model
from tests.support.waiting import wait_for

yaml = pytest.importorskip("yaml", reason="PyYAML, of the extra `test`, is not installed")

DEPLOYMENT = ROOT / "serving" / "deployment"
COMPOSE = DEPLOYMENT / "docker-compose.yml"
KUBERNETES = DEPLOYMENT / "kubernetes"

# All flags of tensorflow_model_server 2.20.0 (model_servers/main.cc).
REAL_FLAGS = {
    "port",
    "grpc_socket_path",
    "rest_api_port",
    "rest_api_num_threads",
    "rest_api_timeout_in_ms",
    "rest_api_enable_cors_support",
    "enable_batching",
    "batching_parameters_file",
    "enable_per_model_batching_parameters",
    "allow_version_labels_for_unavailable_models",
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "model_name",
    "model_base_path",
    "num_load_threads",
    "num_unload_threads",
    "max_num_load_retries",
    "load_retry_interval_micros",
    "file_system_poll_wait_seconds",
    "flush_filesystem_caches",
    "tensorflow_session_parallelism",
    "tensorflow_session_config_file",
    "tensorflow_intra_op_parallelism",
    "tensorflow_inter_op_parallelism",
    "use_alts_credentials",
    "ssl_config_file",
    "platform_config_file",
    "per_process_gpu_memory_fraction",
    "saved_model_tags",
    "grpc_channel_arguments",
    "grpc_max_threads",
    "enable_model_warmup",
    "num_request_iterations_for_warmup",
    "version",
    "monitoring_config_file",
    "remove_unused_fields_from_bundle_metagraph",
    "prefer_tflite_model",
    "num_tflite_pools",
    "num_tflite_interpreters_per_pool",
    "enable_signature_method_name_check",
    "xla_cpu_compilation_enabled",
    "xla_gpu_compilation_enabled",
    "enable_profiler",
    "thread_pool_factory_config_file",
    "mixed_precision",
    "skip_initialize_tpu",
    "enable_grpc_healthcheck_service",
    "enable_serialization_as_tensor_content",
}


def documents(path: Path) -> list[dict]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def compose() -> dict:
    return documents(COMPOSE)[0]


def pods() -> dict[str, dict]:
    """The pod template of each deployment, by its name."""
    found = [
        entry
        for path in KUBERNETES.glob("*.yaml")
        for entry in documents(path)
        if entry.get("kind")
    ]
    return {
        entry["metadata"]["name"]: entry["spec"]["template"]
        for entry in found
        if entry["kind"] == "Deployment"
    }


def container(name: str) -> dict:
    (only,) = pods()[name]["spec"]["containers"]
    return only


def server_arguments() -> dict[str, list[str]]:
    services = compose()["services"]
    return {
        "compose, CPU": services["serving-cpu"]["command"],
        "compose, GPU": services["serving-gpu"]["command"],
        "kubernetes": container("imgcap-serving")["args"],
    }


def flags(words: list[str]) -> dict[str, str]:
    assert all(re.fullmatch(r"--\w+=.*", word) for word in words), words
    return {word[2:].split("=", 1)[0]: word.split("=", 1)[1] for word in words}


@pytest.mark.parametrize("where", server_arguments())
def test_flags_are_those_of_the_real_server(where):
    given = flags(server_arguments()[where])
    assert set(given) <= REAL_FLAGS
    assert (
        int(given["grpc_max_threads"]) >= 64 and given["enable_grpc_healthcheck_service"] == "true"
    )
    assert (
        given["allow_version_labels_for_unavailable_models"] == "true"
    )  # else labels end the start
    assert given["tensorflow_intra_op_parallelism"] == "1"


def test_flags_in_documents_and_scripts_exist_somewhere():
    known = REAL_FLAGS.union(*(flags_of(command) for command in load_commands().values()))
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "serving").rglob("*.py"))
    named = {flag for flag in re.findall(r"(?<![\w-])--([a-z_0-9]+)", text) if "_" in flag}
    assert named <= known | {"python_out", "pyi_out", "optimize"}


@pytest.mark.parametrize("where", server_arguments())
def test_files_that_flags_name_are_there(where):
    given = flags(server_arguments()[where])
    named = {name: value for name, value in given.items() if value.startswith("/config/")}
    assert set(named) == {"model_config_file", "batching_parameters_file", "monitoring_config_file"}
    for value in named.values():
        assert (DEPLOYMENT / value.removeprefix("/config/")).is_file()


def test_both_roads_start_the_server_alike():
    arguments = {where: flags(words) for where, words in server_arguments().items()}
    ports = {
        "port": "8500",
        "rest_api_port": "8501",
    }  # the image's entrypoint gives them to compose
    alike = arguments["compose, CPU"] | ports | {"tensorflow_inter_op_parallelism": "2"}
    assert alike == arguments["kubernetes"] | {"ssl_config_file": "${SSL_CONFIG_FILE:-}"}
    assert arguments["compose, GPU"] == arguments["compose, CPU"]


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


def test_monitoring_config():
    monitoring = read_text_proto(DEPLOYMENT / "monitoring.config", settings_pb2.MonitoringConfig())
    assert monitoring.prometheus_config.enable
    path = monitoring.prometheus_config.path
    (job,) = documents(DEPLOYMENT / "prometheus.yml")[0]["scrape_configs"]
    annotations = pods()["imgcap-serving"]["metadata"]["annotations"]
    assert path == METRICS_PATH == job["metrics_path"] == annotations["prometheus.io/path"]
    assert job["static_configs"][0]["targets"] == ["serving:8501"]
    assert annotations["prometheus.io/port"] == "8501"


def test_autoscaler_asks_for_a_series_that_exists():
    (scaler,) = documents(KUBERNETES / "autoscaler.yaml")
    (rule,) = documents(KUBERNETES / "prometheus-adapter.yaml")[0]["rules"]["custom"]
    metric = scaler["spec"]["metrics"][0]["pods"]["metric"]["name"]
    assert metric == rule["name"]["as"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == "imgcap-serving"
    (series,) = set(re.findall(r":tensorflow:[\w:]+", rule["seriesQuery"] + rule["metricsQuery"]))
    assert series in {metric.name for metric in vars(Metrics()).values()}


def test_images_have_their_tag_as_a_setting():
    services = compose()["services"]
    assert services["serving-cpu"]["image"] == "tensorflow/serving:${TF_SERVING_TAG:-2.20.0}"
    assert services["serving-gpu"]["image"] == "tensorflow/serving:${TF_SERVING_TAG:-2.20.0}-gpu"
    (settings,) = documents(KUBERNETES / "kustomization.yaml")
    named = {image["name"] for image in settings["images"]}
    assert named == {container(name)["image"] for name in pods()}
    others = {"kustomization.yaml", "prometheus-adapter.yaml"}
    assert set(settings["resources"]) == {path.name for path in KUBERNETES.glob("*.yaml")} - others


def test_nothing_runs_as_root_or_writes():
    for name, service in compose()["services"].items():
        if name != "prometheus":
            assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        for volume in service.get("volumes", []):
            assert volume.endswith(":ro"), volume
    assert {compose()["services"][f"serving-{kind}"]["user"] for kind in ("cpu", "gpu")} == {
        "65534:65534"
    }
    assert re.search(r"^USER imgcap$", (DEPLOYMENT / "Dockerfile.app").read_text(), re.MULTILINE)
    for name, template in pods().items():
        assert template["spec"]["securityContext"]["runAsNonRoot"] is True
        own = container(name)["securityContext"]
        assert own["readOnlyRootFilesystem"] and not own["allowPrivilegeEscalation"]
        assert own["capabilities"] == {"drop": ["ALL"]}
    mounts = {mount["name"]: mount for mount in container("imgcap-serving")["volumeMounts"]}
    assert mounts["models"]["readOnly"] and mounts["config"]["readOnly"]


def test_ports_stay_on_this_machine_unless_asked():
    for service in compose()["services"].values():
        assert all(port.startswith("${BIND:-127.0.0.1}:") for port in service["ports"])


def test_probes_ask_for_services_that_the_server_knows():
    from serving.server.fronts.health import SERVICES

    server = container("imgcap-serving")
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert server[probe]["grpc"]["port"] == 8500
        assert server[probe]["grpc"].get("service", "") in SERVICES
    seconds = server["startupProbe"]["periodSeconds"] * server["startupProbe"]["failureThreshold"]
    assert seconds >= 120
    drain = int(server["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pods()["imgcap-serving"]["spec"]["terminationGracePeriodSeconds"] > drain + 20


def test_services_select_the_pods():
    services = {
        entry["metadata"]["name"]: entry["spec"]
        for path in (KUBERNETES / "service.yaml", KUBERNETES / "page.yaml")
        for entry in documents(path)
        if entry["kind"] == "Service"
    }
    assert set(services) == set(pods())
    for name, service in services.items():
        labels = pods()[name]["metadata"]["labels"]
        assert service["selector"].items() <= labels.items()
        ports = {port["name"] for port in container(name)["ports"]}
        assert {port["targetPort"] for port in service["ports"]} <= ports
    assert services["imgcap-serving"]["clusterIP"] == "None"


def test_page_image_copies_what_it_needs_and_has_no_tensorflow():
    text = (DEPLOYMENT / "Dockerfile.app").read_text()
    copied = {
        word
        for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE)
        for word in line.split()[:-1]
    }
    assert all((ROOT / name).exists() for name in copied)
    allowed = set(
        re.findall(
            r"^!(.+)$", (DEPLOYMENT / "Dockerfile.app.dockerignore").read_text(), re.MULTILINE
        )
    )
    assert copied == allowed
    assert "'.[app]'" in text and "tensorflow" not in text.split("\n", 1)[1].lower()
    (start,) = re.findall(r"^CMD (.+)$", text, re.MULTILINE)
    flags = {flag for name, flag in used_flags(start) if name == "imgcap-page"}
    assert flags == {"host", "port", "open_browser"} <= flags_of(load_commands()["imgcap-page"])


def test_commands_in_the_page_of_instructions_exist():
    known = {name: flags_of(command) for name, command in load_commands().items()}
    text = (ROOT / "serving" / "README.md").read_text(encoding="utf-8")
    objects = {"imgcap-serving", "imgcap-models"}  # of Kubernetes, not commands
    found = [(name, flag) for name, flag in used_flags(text) if name not in objects]
    assert len(found) > 5
    for name, flag in found:
        assert flag in known[name], f"{name} has no --{flag}"
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("http") or (ROOT / "serving" / target).exists(), target


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
    (line,) = re.findall(
        r"^curl .+$", (ROOT / "serving" / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
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
