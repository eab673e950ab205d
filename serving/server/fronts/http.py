"""A small HTTP server beside the gRPC one: for Prometheus and for REST."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

MAX_BODY_BYTES = 64 * 2**20
"""Room for a batch of photographs in base64; a larger body is refused before it is read."""

METRICS_PATH = "/monitoring/prometheus/metrics"
"""Path of the metrics, as in TensorFlow Serving."""


class Response(NamedTuple):
    """The answer to an HTTP request.

    Attributes:
        status: the HTTP status.
        content_type: MIME type of the body.
        body: content in UTF-8.
    """

    status: int
    content_type: str
    body: bytes


class HttpFront:
    """An HTTP port that answers by a function of method, path and body."""

    def __init__(self, host: str, port: int, answer: Callable[[str, str, bytes], Response]) -> None:
        """Opens the port; `start` begins to answer.

        Args:
            host: address to listen on.
            port: number of the port; 0 takes a free one, which `port` then names.
            answer: function of (method, path, body), called by any number of threads.

        Raises:
            OSError: the port can't be opened.
        """
        self._server = ThreadingHTTPServer((host, port), _make_handler(answer))
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Closes the port."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()


def metrics_response(path: str, text: Callable[[], str]) -> Response:
    """The answer of a port that has only metrics.

    Args:
        path: path of the request.
        text: makes the text of the metrics.
    """
    if path.partition("?")[0] == METRICS_PATH:
        return Response(200, "text/plain; version=0.0.4; charset=utf-8", text().encode())
    return Response(404, "text/plain; charset=utf-8", f"see {METRICS_PATH}\n".encode())


def _make_handler(answer: Callable[[str, str, bytes], Response]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30.0  # seconds that a silent connection keeps its thread

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            length = self.headers.get("Content-Length", "0")
            if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
                self.close_connection = True  # unread bytes would be taken for the next request
                response = Response(413, "text/plain; charset=utf-8", b"the body is too large\n")
            else:
                response = answer(self.command, self.path, self.rfile.read(int(length)))
            self.send_response(response.status)
            self.send_header("Content-Type", response.content_type)
            self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            self.wfile.write(response.body)

        def log_message(self, format: str, *args: object) -> None:
            """Logs nothing: scrapes would fill the log."""

    return Handler
