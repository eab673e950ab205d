"""The HTTP port under odd, slow, large and hostile callers, without any model behind it."""

import contextlib
import gzip
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from serving.server.fronts.http.application import METRICS_PATH
from serving.server.fronts.http.front import HttpFront
from serving.server.fronts.http.limits import Limits
from serving.server.fronts.http.messages import Request, Response

Answer = Callable[[Request], Response]


def echo(request: Request) -> Response:
    return Response(200, "a/b", f"{request.method} {request.target} ".encode() + request.body)


@contextlib.contextmanager
def serving(
    answer: Answer = echo, threads: int = 2, host: str = "127.0.0.1", **limits: float
) -> Iterator[HttpFront]:
    front = HttpFront(host, 0, lambda: "metrics\n", answer, threads, Limits(**limits))  # type: ignore[arg-type]  # sizes are whole
    front.start()
    try:
        yield front
    finally:
        front.stop()


@pytest.fixture(scope="module")
def front() -> Iterator[HttpFront]:
    with serving() as front:
        yield front


class Caller:
    """A connection on which any bytes can be sent."""

    def __init__(self, front: HttpFront, sent: bytes = b"", host: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection((host, front.port), timeout=10)
        self._reader = self.socket.makefile("rb")
        self.socket.sendall(sent)

    def answer(self, method: str = "GET") -> tuple[int, bytes]:
        """Reads one answer: its status and body."""
        status = int(self._reader.readline().split()[1])
        headers = http.client.parse_headers(self._reader)
        length = 0 if method == "HEAD" else int(headers["Content-Length"] or 0)
        return status, self._reader.read(length)

    def read(self) -> bytes:
        """Reads on to the end of the connection."""
        return self._reader.read()

    def is_closed(self) -> bool:
        """Waits for the end of the connection, and says whether nothing more came before it."""
        with contextlib.suppress(ConnectionResetError):
            return self._reader.read(1) == b""
        return True

    def close(self) -> None:
        self._reader.close()
        self.socket.close()

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def ask(front: HttpFront, request: bytes) -> tuple[int, bytes]:
    with Caller(front, request) as caller:
        return caller.answer()


GET = b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"
NEXT = (200, b"GET /next ")


def post(body: bytes, *headers: str, path: str = "/") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunks(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (*parts, b""))


CHUNKED = "Transfer-Encoding: chunked"


def gzipped(body: bytes) -> bytes:
    packed = gzip.compress(body, mtime=0)
    return post(packed, "Content-Encoding: gzip", f"Content-Length: {len(packed)}")


@pytest.mark.parametrize(
    "request_bytes, body",
    [
        (post(b"body", "Content-Length: 4"), b"body"),
        (post(b"", "Content-Length: 0"), b""),
        (post(b""), b""),
        (post(b"body", "content-length: 4, 4"), b"body"),
        (post(chunks(b"two ", b"parts"), CHUNKED), b"two parts"),
        (post(chunks(), CHUNKED), b""),
        (post(b"3;name=value\r\nabc\r\n0\r\nTrailer: x\r\n\r\n", CHUNKED), b"abc"),
        (post(chunks(GET), CHUNKED), GET),
        (post(GET, f"Content-Length: {len(GET)}"), GET),
        (gzipped(b"zipped"), b"zipped"),
        (post(chunks(gzip.compress(b"z", mtime=0)), CHUNKED, "Content-Encoding: gzip"), b"z"),
        (post(b"no gzip", "Content-Encoding: gzip", "Content-Length: 7"), b""),
        (
            post(
                gzip.compress(b"cut", mtime=0)[:-9], "Content-Encoding: gzip", "Content-Length: 14"
            ),
            b"",
        ),
    ],
)
def test_a_body_ends_where_it_ends(front, request_bytes, body):
    with Caller(front, request_bytes + GET) as caller:
        assert caller.answer("POST") == (200, b"POST / " + body)
        assert caller.answer() == NEXT  # not a byte of the body is taken for a request
        caller.socket.settimeout(0.1)
        with pytest.raises(TimeoutError):
            caller.socket.recv(1)


def test_requests_in_one_piece_and_byte_by_byte(front):
    requests = [
        post(b"1", "Content-Length: 1", path="/a"),
        GET,
        post(chunks(b"2", b"3"), CHUNKED, path="/b?c=d"),
        b"HEAD /next HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://x:80/%2F?e HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        post(b"%s" % (b"4" * 200_000), "Content-Length: 200000", path="/%41"),
    ]
    answers = [
        ("POST", b"POST /a 1"),
        ("GET", b"GET /next "),
        ("POST", b"POST /b?c=d 23"),
        ("HEAD", b""),
        ("GET", b"GET /%2F?e "),
        ("OPTIONS", b"OPTIONS * "),
        ("POST", b"POST /%41 " + b"4" * 200_000),
    ]
    with Caller(front, b"".join(requests)) as caller:
        for method, body in answers:
            assert caller.answer(method) == (200, body)
    with Caller(front) as caller:
        for byte in b"".join(requests[:3]):
            caller.socket.sendall(bytes([byte]))
        for method, body in answers[:3]:
            assert caller.answer(method) == (200, body)


@pytest.mark.parametrize(
    "request_bytes, status",
    [
        (post(chunks(b"a"), "Content-Length: 1", CHUNKED), 400),
        (post(chunks(b"a"), CHUNKED, "Content-Length: 100"), 400),
        (post(b"ab", "Content-Length: 1", "Content-Length: 2"), 400),
        (post(b"ab", "Content-Length: 1, 2"), 400),
        (post(b"a", "Content-Length: +1"), 400),
        (post(b"a", "Content-Length: -1"), 400),
        (post(b"a", "Content-Length: 0x1"), 400),
        (post(b"a", "Content-Length: 1" + "0" * 30), 400),
        (post(chunks(b"a"), CHUNKED, CHUNKED), 400),
        (post(chunks(b"a"), "Transfer-Encoding: gzip, chunked"), 400),
        (post(chunks(b"a"), "Transfer-Encoding: xchunked"), 400),
        (post(chunks(b"a"), "Transfer-Encoding : chunked"), 400),
        (post(chunks(b"a"), CHUNKED).replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
        (post(b"zz\r\na\r\n0\r\n\r\n", CHUNKED), 400),
        (post(b"1\r\nab\r\n0\r\n\r\n", CHUNKED), 400),
        (post(b"", "Content-Length: 99999999999"), 413),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a greeting of TLS\r\n\r\n", 400),
        (b"GET http://[ HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP\r\n\r\n", 400),
        (b"\r\n" * 9000, 400),
        (b"\x00" * 20_000, 400),
    ],
)
def test_an_odd_request_is_refused_and_nothing_after_it_is_read(front, request_bytes, status):
    with Caller(front, request_bytes + GET) as caller:
        answers = caller.read()
        assert answers.startswith(b"HTTP/1.1 %d " % status)
        assert answers.count(b"HTTP/1.1 ") == 1 and b"/next" not in answers


def test_an_answer_does_not_wait_for_a_receipt(front):
    """The system delays the receipt of an answer's first half by 40 ms."""
    seconds = []
    with Caller(front) as caller:
        for _ in range(20):
            started = time.monotonic()
            caller.socket.sendall(GET)
            assert caller.answer() == NEXT
            seconds.append(time.monotonic() - started)
    assert sorted(seconds)[5] < 0.03


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 10_000,
        b"GET / HTTP/1.1\r\nA: " + b"b" * 40_000,
        b"GET /" + b"a" * 40_000,
        post(b"1;" + b"x" * 40_000, CHUNKED),
    ],
)
def test_a_flood_of_headers_is_refused(front, head):
    with Caller(front) as caller:
        with contextlib.suppress(ConnectionError):  # refused before all is sent
            caller.socket.sendall(head)
        with contextlib.suppress(ConnectionError):
            assert caller.read().startswith(b"HTTP/1.1 400 ")


def test_bodies_are_limited_while_they_come_in():
    with serving(body_bytes=1000) as front:
        for sent in (
            post(b"x" * 1001, "Content-Length: 1001"),
            post(chunks(b"x" * 600, b"x" * 401), CHUNKED),
            gzipped(b"x" * 100_000),
        ):
            with Caller(front, sent) as caller:
                assert caller.answer("POST") == (413, b"the body is too large\n")
        with Caller(front, post(chunks(b"x" * 600, b"x" * 400), CHUNKED)) as caller:
            assert caller.answer("POST") == (200, b"POST / " + b"x" * 1000)


def test_a_body_that_breaks_off_in_the_middle_is_told_once(caplog):
    with serving(body_bytes=1000) as front:
        with Caller(front, post(b"3\r\nabc\r\n", CHUNKED)) as caller:
            time.sleep(0.1)
            caller.socket.sendall(b"zz\r\n")
            assert caller.read().startswith(b"HTTP/1.1 400 ")
        with Caller(front, post(chunks(b"x" * 1001)[:-5], CHUNKED)) as caller:
            assert caller.answer("POST")[0] == 413
            caller.socket.sendall(b"zz\r\n")
            assert caller.is_closed()
        assert comes_true(lambda: front.connections == 0)
    assert not caplog.records


def test_a_caller_who_still_sends_reads_that_its_body_is_too_large():
    with serving(body_bytes=1000) as front, Caller(front) as caller:
        caller.socket.sendall(post(b"", "Content-Length: 10000000") + b"x" * 10_000_000)
        assert caller.answer("POST") == (413, b"the body is too large\n")


def test_all_bodies_together_are_limited():
    with serving(buffered_bytes=1500) as front, Caller(front) as first:
        first.socket.sendall(post(b"x" * 1000, "Content-Length: 1001"))
        time.sleep(0.2)
        with Caller(front, post(b"x" * 600, "Content-Length: 600")) as second:
            assert second.answer("POST")[0] == 503
        first.socket.sendall(b"x")
        assert first.answer("POST")[0] == 200
        with Caller(front, post(b"x" * 600, "Content-Length: 600")) as second:
            assert second.answer("POST")[0] == 200


def test_slow_callers_are_given_up():
    limits = {"head_seconds": 0.4, "idle_seconds": 0.3, "body_seconds": 0.3}
    with serving(**limits) as front, contextlib.ExitStack() as stack:
        silent = stack.enter_context(Caller(front))
        half = stack.enter_context(Caller(front, b"GET / HT"))
        idle = stack.enter_context(Caller(front, GET))
        body = stack.enter_context(Caller(front, post(b"x", "Content-Length: 2")))
        chunked = stack.enter_context(Caller(front, post(b"5\r\nab", CHUNKED)))
        drip = stack.enter_context(Caller(front, b"GET / HTTP/1.1\r\n"))
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - started < 5 and not is_readable(drip):
                drip.socket.sendall(b"A: b\r\n")
                time.sleep(0.05)
        assert time.monotonic() - started < 2
        assert idle.answer() == NEXT
        assert body.answer("POST")[0] == chunked.answer("POST")[0] == 408
        assert all(caller.is_closed() for caller in (silent, half, idle, body, chunked, drip))


def is_readable(caller: Caller) -> bool:
    caller.socket.setblocking(False)
    try:
        return caller.socket.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    finally:
        caller.socket.settimeout(10)


def test_slow_bodies_shut_nobody_out():
    with serving(threads=1) as front, contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(Caller(front, post(b"x" * 1000, "Content-Length: 2000")))
        started = time.monotonic()
        assert all(ask(front, GET) == NEXT for _ in range(10))
        assert time.monotonic() - started < 2


def test_connections_are_limited():
    with serving(connections=3) as front, contextlib.ExitStack() as stack:
        held = [stack.enter_context(Caller(front, GET)) for _ in range(3)]
        assert [caller.answer() for caller in held] == [NEXT] * 3
        with Caller(front, GET) as caller:
            assert caller.answer() == (503, b"too many connections\n")
            assert caller.is_closed()
        held[0].close()
        assert comes_true(lambda: ask(front, GET) == NEXT)


def comes_true(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_nothing_is_computed_for_a_caller_who_went_away():
    begun, told = [], threading.Event()

    def answer(request: Request) -> Response:
        begun.append(request.target)
        if request.target == "/long" and comes_true(request.is_cancelled):
            told.set()
        return echo(request)

    with serving(answer, threads=1) as front:
        long = Caller(front, GET.replace(b"next", b"long"))
        assert comes_true(lambda: begun == ["/long"])
        waiting = Caller(front, GET.replace(b"next", b"waiting"))
        time.sleep(0.2)
        waiting.close()
        time.sleep(0.2)
        long.close()
        assert told.wait(5)
        assert ask(front, GET) == NEXT
        assert begun == ["/long", "/next"]


def test_the_deadline_counts_from_the_last_byte():
    def answer(request: Request) -> Response:
        return Response(200, "a/b", f"{request.seconds:.0f}".encode())

    with serving(answer, request_seconds=7) as front, Caller(front, GET) as caller:
        assert caller.answer() == (200, b"7")


def test_a_caller_who_does_not_read_is_given_up():
    def answer(request: Request) -> Response:
        return Response(200, "a/b", b"x" * 30_000_000)

    with serving(answer, answer_seconds=0.3) as front, Caller(front, GET + GET):
        assert comes_true(lambda: front.connections == 1)
        assert comes_true(lambda: front.connections == 0)


def test_the_end_waits_for_requests_under_way_and_takes_no_other():
    begun, go_on = threading.Event(), threading.Event()

    def answer(request: Request) -> Response:
        begun.set()
        go_on.wait(5)
        return echo(request)

    with serving(answer) as front, Caller(front, GET) as caller, Caller(front) as idle:
        assert begun.wait(5)
        front.begin_stop(grace_seconds=5)
        assert idle.is_closed()
        with pytest.raises(ConnectionRefusedError):
            while True:
                Caller(front).close()
                time.sleep(0.01)
        go_on.set()
        assert caller.answer() == NEXT and caller.is_closed()


def test_the_end_does_not_wait_for_ever():
    with serving() as front, Caller(front, post(b"x", "Content-Length: 2")):
        time.sleep(0.1)
        started = time.monotonic()
        front.stop(grace_seconds=0.3)
        assert time.monotonic() - started < 2


def test_a_failing_answer_is_an_error_and_the_port_lives(caplog):
    def answer(request: Request) -> Response:
        raise RuntimeError("broken")

    with serving(answer) as front, Caller(front, GET) as caller:
        assert caller.answer()[0] == 500
        assert ask(front, GET.replace(b"/next", METRICS_PATH.encode())) == (200, b"metrics\n")
    assert "broken" in caplog.text


def test_expect_continue(front):
    sent = post(b"", "Content-Length: 2", "Expect: 100-continue")
    with Caller(front, sent) as caller:
        assert caller.socket.recv(100).startswith(b"HTTP/1.1 100 ")
        caller.socket.sendall(b"ok")
        assert caller.answer("POST") == (200, b"POST / ok")


@pytest.mark.parametrize("host, ways", [("::1", ["::1"]), ("::", ["::1", "127.0.0.1"])])
def test_addresses_of_the_new_and_the_old_kind(host, ways):
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with serving(host=host) as front:
        for way in ways:
            with Caller(front, GET, way) as caller:
                assert caller.answer() == NEXT


def test_a_port_in_use_is_an_error_before_the_start(front):
    with pytest.raises(OSError, match="in use"):
        HttpFront("127.0.0.1", front.port, lambda: "", echo)


def test_threads_answer_side_by_side():
    both = threading.Barrier(2, timeout=5)

    def answer(request: Request) -> Response:
        both.wait()
        return echo(request)

    with serving(answer) as front, Caller(front, GET) as one, Caller(front, GET) as other:
        assert one.answer() == other.answer() == NEXT
