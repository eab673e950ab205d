"""A gRPC server that answers as TensorFlow Serving does, inside a Python process.

It is for machines without the real server's binary: the demo, the tests, a laptop. A request gets
the same codes, texts and fields from both, so a client can't tell them apart; for throughput there
is the real server.
"""

import dataclasses
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
from tensorflow_serving.config.model_server_config_pb2 import ModelConfigList

from imgcap.errors import ServingError
from imgcap.host.memory import MemoryTrimmer
from serving.server.addresses import check_port, join, plain_host, port_in_use
from serving.server.fronts.grpc_services import ModelService, PredictionService
from serving.server.fronts.health import Health
from serving.server.fronts.http.application import no_other_path
from serving.server.fronts.http.front import HttpFront
from serving.server.fronts.http.limits import Limits
from serving.server.fronts.http.messages import Request, Response
from serving.server.fronts.rest.api import Rest
from serving.server.metrics import Metrics
from serving.server.models.model_list import Models
from serving.server.models.servable import Servable
from serving.server.predictor import Predictor
from serving.server.queue.options import (
    DEFAULT_MAX_BYTES,
    DEFAULT_MAX_THREADS,
    BatchingOptions,
)

# Threads to refuse, and to answer health and status, while all others wait for the model.
_SPARE_THREADS = 8
# A call holds a thread from its start, and a caller may start many and send nothing: 80 such calls
# shut everybody out when there were 72 threads. One is made only if all others are held, and each
# takes some 50 KB.
_SILENT_CALLS = 1000
_MAX_MESSAGE = 2**31 - 1


@dataclass(frozen=True)
class ServerOptions:
    """The options of a server: where it listens and how it runs requests.

    Attributes:
        host: address or name to listen on; "0.0.0.0" is every IPv4 address of this machine, "::"
            every address. An address of IPv6 may stand in brackets.
        port: port of gRPC; 0 takes a free one.
        rest_api_port: port of REST and metrics; 0 takes a free one, None opens none.
        metrics_port: port of metrics alone; 0 takes a free one, None opens none.
        credentials: key and certificate for TLS; None is plain text.
        max_threads: number of requests inside at a time; more are refused at once.
        max_request_bytes: size of all requests inside at a time; more are refused at once.
        batching: how requests are merged; None runs each alone.
        poll_seconds: time between two looks for new versions; 0 never looks.
        config_file: a list of models to be taken again when it changes.
        config_poll_seconds: time between two looks at that file; 0 never looks.
        allow_labels_for_unavailable: whether a new label may name a version that is not loaded.
        warm_later: whether the server answers after the first warm-up request of each version and
            runs the others meanwhile; if one of these fails, `LocalServer.failure` says so.
        log_requests: whether each request is a line in the log.
    """

    host: str = "127.0.0.1"
    port: int = 0
    rest_api_port: int | None = None
    metrics_port: int | None = None
    credentials: grpc.ServerCredentials | None = None
    max_threads: int = DEFAULT_MAX_THREADS
    max_request_bytes: int = DEFAULT_MAX_BYTES
    batching: BatchingOptions | None = None
    poll_seconds: float = 1.0
    config_file: Path | None = None
    config_poll_seconds: float = 0.0
    allow_labels_for_unavailable: bool = False
    warm_later: bool = False
    log_requests: bool = False


class LocalServer:
    """Serves models on a port: `start`, then `stop`, or `with LocalServer(...) as server`.

    Attributes:
        port: port of gRPC; known after `start` if a free one was to be taken.
        metrics: counters and histograms of its requests.
        models: the models that it serves.
        failure: why it should not go on, if a version has failed since the start; else None.
    """

    def __init__(self, models: ModelConfigList, options: ServerOptions | None = None) -> None:
        """Loads nothing yet and opens no port.

        Args:
            models: the models to serve; `model_list.one_model` makes a list of one.
            options: where to listen and how to run; the defaults take a free port.
        """
        options = options or ServerOptions()
        self._options = dataclasses.replace(options, host=plain_host(options.host))
        self._config = models
        self.port = self._options.port
        self.metrics = Metrics()
        self.models = Models(
            self._options.allow_labels_for_unavailable, self._count_warmup, self._count_load
        )
        self._server: grpc.Server | None = None
        self._predictor: Predictor | None = None
        self._fronts: dict[str, HttpFront] = {}
        self._health = Health()
        self._trimmer = MemoryTrimmer()
        self.failure: ServingError | None = None
        self._warming = threading.Thread(target=self._warm_up_rest, name="warmup", daemon=True)

    def start(self) -> None:
        """Loads the models, then opens the ports, so that every client finds the models.

        Raises:
            ServingError: nothing to serve, or a port is in use.
        """
        options = self._options
        for port in (self.port, options.rest_api_port, options.metrics_port):
            check_port(options.host, port or 0)  # before the seconds that loading takes
        self.models.load_first(self._config, options.warm_later)
        self._predictor = Predictor(
            self.models,
            self.metrics,
            options.max_threads,
            options.batching,
            options.max_request_bytes,
        )
        self._open_fronts(self._predictor)
        self._server = self._make_server(self._predictor)
        self._server.start()
        self._health.serving = True
        self._trimmer.start()
        if options.warm_later:
            self._warming.start()
        self.models.start_polling(
            options.poll_seconds, options.config_file, options.config_poll_seconds
        )

    def stop(self, grace_seconds: float = 30.0) -> None:
        """Takes no new request, lets those under way finish, then closes the ports.

        Args:
            grace_seconds: longest time that requests under way get.
        """
        self._health.serving = False
        for front in self._fronts.values():
            front.begin_stop(grace_seconds)
        if self._server is not None:
            self._server.stop(grace_seconds).wait()
        for front in self._fronts.values():
            front.stop()
        self.models.stop()
        self._trimmer.stop()
        if self._warming.is_alive():
            self._warming.join()
        if self._predictor is not None:
            self._predictor.stop()

    @property
    def target(self) -> str:
        """host:port of gRPC, for a client on this machine."""
        return self._address(self.port)

    @property
    def rest_target(self) -> str:
        """host:port of REST."""
        return self._address(self._fronts["rest"].port)

    @property
    def metrics_target(self) -> str:
        """host:port of the metrics alone."""
        return self._address(self._fronts["metrics"].port)

    def __enter__(self) -> "LocalServer":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop(grace_seconds=1.0)

    def _address(self, port: int) -> str:
        host = self._options.host
        return join("localhost" if host in ("127.0.0.1", "0.0.0.0", "::") else host, port)

    def _warm_up_rest(self) -> None:
        try:
            self.models.warm_up_rest()
        except ServingError as error:
            self.failure = error

    def _count_warmup(self, path: Path, servable: Servable) -> None:
        if servable.warmup_seconds is not None:
            self.metrics.model_warmup_latency.observe(
                1e6 * servable.warmup_seconds, str(path), "OK"
            )

    def _count_load(self, path: Path, loaded: bool) -> None:
        # TensorFlow's own words; a first warm-up request that fails counts here, too.
        self.metrics.load_attempt_count.add(str(path), "success" if loaded else "fail")

    def _open_fronts(self, predictor: Predictor) -> None:
        rest = Rest(self.models, predictor)
        self._open_front("rest", self._options.rest_api_port, rest.answer)
        self._open_front("metrics", self._options.metrics_port, no_other_path)

    def _open_front(
        self, name: str, port: int | None, answer: Callable[[Request], Response]
    ) -> None:
        if port is None:
            return
        options = self._options
        try:
            self._fronts[name] = HttpFront(
                options.host,
                port,
                self.metrics.text,
                answer,
                options.max_threads + _SPARE_THREADS,
                Limits(buffered_bytes=options.max_request_bytes),
            )
        except OSError:  # free before the models were loaded, and taken since
            raise port_in_use(options.host, port) from None
        self._fronts[name].start()

    def _make_server(self, predictor: Predictor) -> grpc.Server:
        options = self._options
        settings = [
            # By default a second server could share the port, and clients would meet either.
            ("grpc.so_reuseport", 0),
            # A message that is larger finds no room later: refused before it is in memory.
            ("grpc.max_receive_message_length", options.max_request_bytes),
            ("grpc.max_send_message_length", _MAX_MESSAGE),
        ]
        threads = options.max_threads + _SPARE_THREADS + _SILENT_CALLS
        pool = ThreadPoolExecutor(threads, thread_name_prefix="grpc")
        # The pool's own queue has no bound; a request that finds no thread even for a refusal is
        # refused by gRPC itself.
        server = grpc.server(pool, options=settings, maximum_concurrent_rpcs=threads)
        services = (
            PredictionService(self.models, predictor, self.metrics, options.log_requests),
            ModelService(self.models, self.metrics, options.log_requests),
            self._health,
        )
        server.add_generic_rpc_handlers([service.handler() for service in services])
        address = join(options.host, self.port)
        try:
            if options.credentials is None:
                self.port = server.add_insecure_port(address)
            else:
                self.port = server.add_secure_port(address, options.credentials)
        except RuntimeError:
            raise port_in_use(options.host, self.port) from None
        return server
