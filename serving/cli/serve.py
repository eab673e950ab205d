"""imgcap-serve: exported models on a gRPC port, by TensorFlow Serving or the embedded server."""

import contextlib
import dataclasses
import json
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgcap.cli import command
from imgcap.config import Section, setting
from imgcap.errors import ConfigError, ServingError
from imgcap.files.literal import is_literal
from imgcap.files.model_folder import MANIFEST, find_versions
from imgcap.host import quiet
from imgcap.host.cpu import missing_cpu_features
from imgcap.host.memory import use_one_arena
from imgcap.signature import MODEL_NAME
from serving.cli.box import export_once
from serving.server.logs import start_logging
from serving.server.models.base_path import require_versions
from serving.server.queue.options import DEFAULT_MAX_BYTES, DEFAULT_MAX_THREADS

if TYPE_CHECKING:  # these import TensorFlow
    from tensorflow_serving.config.model_server_config_pb2 import ModelConfigList

    from serving.server.local_server import ServerOptions

BINARY = "tensorflow_model_server"
"""The real server's program; it is used if it is on PATH."""

MONITORING_CONFIG = Path(__file__).parents[1] / "deployment" / "monitoring.config"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServeConfig(Section):
    """Which models are served, and how; flags of TensorFlow Serving have the same name here."""

    model_base_path: str = setting(
        "",
        "Folder that imgcap-export wrote, with versions 1, 2, … in it. Without it and without "
        "--model_config_file, the captioner that comes with the package is served; the first start "
        "exports it.",
        path=True,
    )
    model_name: str = setting(MODEL_NAME, "What requests call the model.", required=True)
    model_config_file: str = setting(
        "",
        "In place of --model_base_path: file with a list of models, the versions of each that are "
        "served, and labels for them (text proto ModelServerConfig).",
        path=True,
    )
    model_config_file_poll_wait_seconds: int = setting(
        0, "Seconds between two looks at that file for changes; 0 never looks.", minimum=0
    )
    allow_version_labels_for_unavailable_models: bool = setting(
        False,
        "Accept labels in that file for versions that are not loaded yet. When the server starts, "
        "none is, so a list with labels needs this.",
    )
    port: int = setting(
        8500, "gRPC port; 0 takes a free one (embedded server).", minimum=0, maximum=65535
    )
    rest_api_port: int = setting(0, "Port of the REST API; 0 opens none.", minimum=0, maximum=65535)
    metrics_port: int = setting(
        0,
        "Port of Prometheus metrics, at /monitoring/prometheus/metrics; 0 opens none.",
        minimum=0,
        maximum=65535,
    )
    host: str = setting(
        "127.0.0.1",
        "Address or name to listen on, IPv4 or IPv6; 0.0.0.0 is every IPv4 address of this "
        "machine, :: every address (embedded server).",
    )
    ssl_config_file: str = setting(
        "",
        "File with the server's key and certificate (text proto SSLConfig); clients must then use "
        "TLS.",
        path=True,
    )
    embedded: bool = setting(False, f"Use the embedded server even if {BINARY} is on PATH.")
    enable_batching: bool = setting(False, "Run requests that come at the same time as one batch.")
    batching_parameters_file: str = setting(
        "",
        "File with the size of batches and the time to wait for them (text proto "
        "BatchingParameters), such as serving/deployment/batching.config.",
        path=True,
    )
    grpc_max_threads: int = setting(
        DEFAULT_MAX_THREADS,
        "Requests that may be under way at a time; more are refused.",
        minimum=1,
    )
    max_request_megabytes: int = setting(
        DEFAULT_MAX_BYTES // 2**20,
        "Megabytes of all requests under way together; more are refused (embedded server).",
        minimum=1,
        maximum=2047,
    )
    tensorflow_intra_op_parallelism: int = setting(
        -1,
        "Threads inside one operation; 0 is one for each core, -1 is what the newest export asks "
        "for. Exports made for the CPU are fastest with 1.",
        minimum=-1,
    )
    tensorflow_inter_op_parallelism: int = setting(
        0, "Operations that run at once; 0 is one for each core.", minimum=0
    )
    file_system_poll_wait_seconds: int = setting(
        1, "Seconds between two looks for a new version; 0 never looks.", minimum=0
    )
    drain_seconds: float = setting(
        30.0,
        "Seconds that requests under way get to finish when the server is stopped (embedded "
        "server).",
        minimum=0.0,
    )
    log_format: str = setting(
        "text", "Log lines for people, or one JSON object a line.", choices=("text", "json")
    )
    log_requests: bool = setting(False, "Write a log line for each request (embedded server).")


def main(argv: Sequence[str] | None = None) -> int:
    """The console command; see `imgcap-serve --help`."""
    return command.main(COMMAND, argv)


def serve(config: ServeConfig, _arguments: Sequence[str] = ()) -> int:
    """Serves until SIGTERM or Ctrl-C.

    Raises:
        ConfigError: flags that exclude each other, or a settings file that can't be used.
        RunError: the captioner in the box is asked for, and the package has none.
        ServingError: nothing to serve, or the port can't be opened.
    """
    check(config)
    if not config.model_base_path and not config.model_config_file:
        config = dataclasses.replace(config, model_base_path=str(export_once()))
    config = with_threads(config)
    binary = None if config.embedded else shutil.which(BINARY)
    if binary is None:
        return _serve_embedded(config)
    if config.model_base_path and not Path(config.model_base_path).is_dir():
        # The real server would wait for the folder for ever, without a port and without an end.
        raise ServingError(
            f"model_base_path {config.model_base_path} does not exist: export a model with "
            f"imgcap-export --output_dir={config.model_base_path}"
        )
    _refuse_pattern(config.model_base_path)
    refuse_cpu(config)
    warn_if_older(binary, config)
    arguments = binary_command(os.path.abspath(binary), config)
    print(shlex.join(arguments), flush=True)
    os.execv(arguments[0], arguments)


def check(config: ServeConfig) -> None:
    """Refuses the combinations of flags that the real server refuses, before any work.

    Raises:
        ConfigError: names the flags.
    """
    if config.model_base_path and config.model_config_file:
        raise ConfigError(
            "--model_base_path and --model_config_file are both given: give one of the two"
        )
    if config.batching_parameters_file and not config.enable_batching:
        raise ConfigError(
            "--batching_parameters_file is given without --enable_batching: give both"
        )
    for name in ("model_config_file", "batching_parameters_file", "ssl_config_file"):
        path = getattr(config, name)
        if path and not Path(path).is_file():
            raise ConfigError(f"--{name}={path} does not exist")


def with_threads(config: ServeConfig) -> ServeConfig:
    """Fills in the threads that the newest export asks for, if none are given."""
    if config.tensorflow_intra_op_parallelism >= 0:
        return config
    threads = 0
    with contextlib.suppress(ValueError, TypeError):
        threads = int(_newest_manifest(config).get("intra_op_threads", 0))
    return dataclasses.replace(config, tensorflow_intra_op_parallelism=threads)


def _refuse_pattern(model_base_path: str) -> None:
    """Raises ServingError if the real server would read a path as a pattern and find nothing."""
    if not is_literal(Path(model_base_path).absolute()):
        raise ServingError(
            f"{BINARY} takes model_base_path {model_base_path} for a pattern: give it a symbolic "
            "link with a plain name (ln -s), or serve with --embedded"
        )


def refuse_cpu(config: ServeConfig) -> None:
    """Refuses a model made for another CPU, on which the real server would abort without a reason.

    Raises:
        ServingError: this machine's CPU lacks what the newest export needs.
    """
    missing = missing_cpu_features(_newest_manifest(config).get("cpu_features") or ())
    if missing:
        raise ServingError(
            f"the newest version in {config.model_base_path} needs a CPU with "
            f"{', '.join(missing)}, which this machine lacks: serve it elsewhere or export with "
            "--optimize=none"
        )


def warn_if_older(binary: str, config: ServeConfig) -> None:
    """Says on stderr if the real server is older than the TensorFlow that made the newest export.

    Such a server may lack an operation, and then reports only that the version cannot be loaded.

    Args:
        binary: path of the real server.
        config: the settings, of which the model's folder is read.
    """
    exported = str(_newest_manifest(config).get("tensorflow_version", ""))
    if not _minor(exported):
        return
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, errors="replace", timeout=60
        )
        library = re.search(r"TensorFlow Library: (\S+)", done.stdout + done.stderr)
        if library and () < _minor(library[1]) < _minor(exported):
            print(
                f"note: {BINARY} has TensorFlow {library[1]}, and the newest version in "
                f"{config.model_base_path} was exported by {exported}: if it cannot be loaded, "
                f"take a server of that version, such as the image tensorflow/serving:{exported}",
                file=sys.stderr,
                flush=True,
            )


def _minor(version: str) -> tuple[int, ...]:
    """Major and minor number of a version; empty if the text is none."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return tuple(map(int, found.groups())) if found else ()


def _newest_manifest(config: ServeConfig) -> dict[str, Any]:
    """Reads the newest export's manifest.

    Returns:
        Its tree; empty if there is none or it is broken, which loading the version reports.
    """
    versions = find_versions(Path(config.model_base_path)) if config.model_base_path else {}
    newest = versions.get(max(versions, default=0))
    if newest is not None:
        with contextlib.suppress(OSError, ValueError):
            manifest = json.loads((newest / MANIFEST).read_bytes())
            return manifest if isinstance(manifest, dict) else {}
    return {}


def binary_command(binary: str, config: ServeConfig) -> list[str]:
    """Makes the command line of the real server.

    Args:
        binary: absolute path of the real server.
        config: the settings; those that only the embedded server has are left out.

    Raises:
        ConfigError: metrics and REST on two ports, which only the embedded server can do.
    """
    if config.metrics_port and config.rest_api_port not in (0, config.metrics_port):
        raise ConfigError(
            f"--metrics_port={config.metrics_port} is not --rest_api_port={config.rest_api_port}: "
            f"{BINARY} has its metrics on the REST port, so give one of the two"
        )
    http_port = config.rest_api_port or config.metrics_port
    values = {
        "port": config.port,
        "rest_api_port": http_port or None,
        "monitoring_config_file": MONITORING_CONFIG if http_port else None,
        **_binary_models(config),
        "grpc_max_threads": config.grpc_max_threads,
        "enable_batching": config.enable_batching or None,
        "batching_parameters_file": config.batching_parameters_file or None,
        "ssl_config_file": config.ssl_config_file or None,
        "tensorflow_intra_op_parallelism": config.tensorflow_intra_op_parallelism,
        "tensorflow_inter_op_parallelism": config.tensorflow_inter_op_parallelism,
        "file_system_poll_wait_seconds": config.file_system_poll_wait_seconds,
        # By default a broken version is noticed after five minutes; exports are published by
        # rename, so what is broken once stays broken.
        "load_retry_interval_micros": 1_000_000,
        "enable_grpc_healthcheck_service": True,
    }
    return [
        binary,
        *(f"--{name}={_word(value)}" for name, value in values.items() if value is not None),
    ]


def _binary_models(config: ServeConfig) -> dict[str, str | int | bool]:
    if not config.model_config_file:
        # The real server refuses a relative path.
        return {
            "model_name": config.model_name,
            "model_base_path": os.path.abspath(config.model_base_path),
        }
    names = (
        "model_config_file",
        "model_config_file_poll_wait_seconds",
        "allow_version_labels_for_unavailable_models",
    )
    return {name: getattr(config, name) for name in names}


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _serve_embedded(config: ServeConfig) -> int:
    started = time.monotonic()
    if config.model_base_path:
        require_versions(Path(config.model_base_path))
    start_logging(config.log_format)
    log.info("starting: loading TensorFlow")
    use_one_arena()
    quiet.import_tensorflow()  # takes seconds, so it comes after the checks of the flags
    from serving.server.local_server import LocalServer

    models = model_list(config)
    options = server_options(config)
    _set_threads(config)
    server = LocalServer(models, options)
    server.start()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    served = ", ".join(
        f"{name} version {' and '.join(map(str, versions))}"
        for name, versions in server.models.available.items()
    )
    took = time.monotonic() - started
    print(f"serving {served} on {server.target} after {took:.1f} s, Ctrl-C stops", flush=True)
    # A signal may be delivered to one of gRPC's threads, which does not wake this one.
    while not ended.wait(0.2) and server.failure is None:
        pass
    log.info("stopping: requests under way are finished")
    server.stop(config.drain_seconds)
    if server.failure is not None:
        raise server.failure
    return 0


def model_list(config: ServeConfig) -> "ModelConfigList":
    """Makes the list of models for the embedded server.

    Raises:
        ConfigError: --model_config_file is no list of models.
        ServingError: a folder without versions.
    """
    from serving.server.models.model_list import one_model, read_model_list

    if config.model_config_file:
        models = read_model_list(Path(config.model_config_file))
    else:
        models = one_model(Path(config.model_base_path).absolute(), config.model_name)
    for model in models.config:
        require_versions(Path(model.base_path))
    return models


def server_options(config: ServeConfig) -> "ServerOptions":
    """Makes the options of the embedded server.

    Raises:
        ConfigError: a settings file that can't be used.
    """
    from serving.server.local_server import ServerOptions
    from serving.server.queue.options import BatchingOptions
    from serving.server.settings.text_protos import read_batching, read_server_credentials

    batching = None
    if config.enable_batching:
        path = config.batching_parameters_file
        batching = read_batching(path) if path else BatchingOptions()
    return ServerOptions(
        host=config.host,
        port=config.port,
        rest_api_port=config.rest_api_port or None,
        metrics_port=config.metrics_port or None,
        credentials=read_server_credentials(config.ssl_config_file)
        if config.ssl_config_file
        else None,
        max_threads=config.grpc_max_threads,
        max_request_bytes=config.max_request_megabytes * 2**20,
        batching=batching,
        poll_seconds=config.file_system_poll_wait_seconds,
        config_file=Path(config.model_config_file) if config.model_config_file else None,
        config_poll_seconds=config.model_config_file_poll_wait_seconds,
        allow_labels_for_unavailable=config.allow_version_labels_for_unavailable_models,
        warm_later=True,
        log_requests=config.log_requests,
    )


def _set_threads(config: ServeConfig) -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(config.tensorflow_intra_op_parallelism)
    tf.config.threading.set_inter_op_parallelism_threads(config.tensorflow_inter_op_parallelism)


COMMAND = command.Command(
    name="imgcap-serve",
    summary=(
        f"Serves exported models over TensorFlow Serving's gRPC API: with {BINARY} if it is on "
        "PATH, else with an embedded server in this process. Flags marked (embedded server) are "
        "for that one alone."
    ),
    sections=(ServeConfig,),
    run=serve,
)
