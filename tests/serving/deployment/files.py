"""The deployment's files, read as their readers will."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import ROOT

yaml = pytest.importorskip("yaml", reason="PyYAML, of the extra `test`, is not installed")

DEPLOYMENT = ROOT / "serving" / "deployment"
KUBERNETES = DEPLOYMENT / "kubernetes"
MONITORING = DEPLOYMENT / "monitoring"
README = ROOT / "serving" / "README.md"

SETTINGS = {"kustomization.yaml", "prometheus-adapter.yaml"}
"""Files of `KUBERNETES` that hold no object of Kubernetes."""

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


@cache
def documents(path: Path) -> list[dict[str, Any]]:
    """Reads the documents of a YAML file, once: nobody may change what comes back."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def compose() -> dict[str, Any]:
    """Reads the Compose file."""
    return documents(DEPLOYMENT / "docker-compose.yml")[0]


def objects(kind: str) -> dict[str, dict[str, Any]]:
    """Reads the objects of one kind in `KUBERNETES`, by their names."""
    return {
        entry["metadata"]["name"]: entry
        for path in sorted(KUBERNETES.glob("*.yaml"))
        if path.name not in SETTINGS
        for entry in documents(path)
        if entry["kind"] == kind
    }


def pods() -> dict[str, dict[str, Any]]:
    """The pod template of each deployment, by its name."""
    return {name: entry["spec"]["template"] for name, entry in objects("Deployment").items()}


def container(name: str) -> dict[str, Any]:
    """The container of a deployment's pods; there is one."""
    (only,) = pods()[name]["spec"]["containers"]
    return only


def predictor() -> dict[str, Any]:
    """The predictor of KServe's service."""
    (service,) = documents(DEPLOYMENT / "kserve" / "inference-service.yaml")
    return service["spec"]["predictor"]


def server_arguments() -> dict[str, list[str]]:
    """The words that each file gives the model server, by the name that serving/README.md uses."""
    services = compose()["services"]
    return {
        "Compose": services["serving-cpu"]["command"],
        "Compose, GPU": services["serving-gpu"]["command"],
        "Kubernetes": container("imgcap-serving")["args"],
        "KServe": predictor()["model"]["args"],
    }


def flags(words: list[str]) -> dict[str, str]:
    """Reads `--name=value` words."""
    assert all(re.fullmatch(r"--\w+=.*", word) for word in words), words
    return {word[2:].split("=", 1)[0]: word.split("=", 1)[1] for word in words}
