"""Worker processes of Beam's direct runner, forked from one that has imported all they need.

Beam would start each as a program of its own, which imports Beam for two seconds and TensorFlow for
six. This module needs Beam.
"""

import multiprocessing
from typing import Any

from apache_beam.portability.api import endpoints_pb2
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    GrpcWorkerHandler,
    WorkerHandler,
)
from apache_beam.transforms.environments import Environment, python_sdk_capabilities
from google.protobuf import json_format, text_format

from imgcap.host.beam_worker import work

URN = "imgcap:env:forked:v1"
"""Name by which Beam finds the environment and its handler."""


@Environment.register_urn(URN, bytes)
class ForkedEnvironment(Environment):
    """Steps that run in forked processes of this machine."""

    def __init__(self) -> None:
        """Says what Beam's Python can do."""
        super().__init__(python_sdk_capabilities())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ForkedEnvironment)

    def __hash__(self) -> int:
        return hash(URN)

    def to_runner_api_parameter(self, context: Any) -> tuple[str, bytes]:
        """The name, and nothing else."""
        return URN, b""

    @staticmethod
    def from_runner_api_parameter(*parameters: Any) -> "ForkedEnvironment":
        """The reverse of `to_runner_api_parameter`."""
        return ForkedEnvironment()


@WorkerHandler.register_environment(URN, bytes)
class ForkedWorkerHandler(GrpcWorkerHandler):
    """One such process, as the runner starts and stops it."""

    def __init__(self, payload: bytes, state: Any, provision_info: Any, grpc_server: Any) -> None:
        """Starts nothing yet."""
        super().__init__(state, provision_info, grpc_server)

    def start_worker(self) -> None:
        """Forks the process, which then calls the runner."""
        runner = endpoints_pb2.ApiServiceDescriptor(url=self.control_address)
        options = self.provision_info.provision_info.pipeline_options
        variables = {
            "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(runner),
            "PIPELINE_OPTIONS": json_format.MessageToJson(options),
            "WORKER_ID": self.worker_id,
        }
        context = multiprocessing.get_context("forkserver")
        self._process = context.Process(target=work, args=(variables,), daemon=True)
        self._process.start()

    def stop_worker(self) -> None:
        """Waits for the end of the process, which the runner has told that no work is left."""
        self._process.join()
