"""Metrics as Prometheus reads them, and log lines as machines read them."""

import io
import json
import logging
import re

import pytest

from serving.server.fronts.http.application import METRICS_PATH, no_other_path
from serving.server.fronts.http.front import HttpFront
from serving.server.fronts.http.messages import Request, Response
from serving.server.logs import JsonFormatter
from serving.server.metrics import Counter, Histogram, Metrics, exponential


def test_buckets_are_cumulative_and_a_limit_belongs_to_its_bucket():
    histogram = Histogram("h", "a", limits=(1, 10))
    for value in (0.5, 1, 2, 10, 11):
        histogram.observe(value, "x")
    assert list(histogram.lines()) == [
        "# TYPE h histogram",
        'h_bucket{a="x",le="1"} 2',
        'h_bucket{a="x",le="10"} 4',
        'h_bucket{a="x",le="+Inf"} 5',
        'h_sum{a="x"} 24.5',
        'h_count{a="x"} 5',
    ]


def test_counters_and_hostile_labels():
    counter = Counter("c", "model_name", "status")
    counter.add("m", "OK")
    counter.add("m", "OK", by=2)
    counter.add('a"\\\nb', "OK")
    assert list(counter.lines()) == [
        "# TYPE c counter",
        'c{model_name="m",status="OK"} 3',
        r'c{model_name="a\"\\\nb",status="OK"} 1',
    ]


def test_exponential_limits():
    assert exponential(10, 1.8, 3) == pytest.approx((10, 18, 32.4))


def test_every_line_is_prometheus_text():
    metrics = Metrics()
    metrics.request_latency.observe(1234.5, "m", "Predict", "GRPC")
    metrics.request_count.add("m", "OK")
    number, labels = r"[-+0-9.e]+", r'\{([a-zA-Z_]\w*="[^"\n]*",?)*\}'
    for line in metrics.text().splitlines():
        assert re.fullmatch(rf"# TYPE [:\w]+ (counter|histogram)|[:\w]+{labels} {number}", line), (
            line
        )


def test_http_front():
    import urllib.error
    import urllib.request

    def answer(request: Request) -> Response:
        if request.method == "GET":
            return no_other_path(request)
        return Response(200, "x/y", request.body)

    front = HttpFront("127.0.0.1", 0, lambda: "text", answer)
    front.start()
    url = f"http://127.0.0.1:{front.port}"
    try:
        assert urllib.request.urlopen(f"{url}{METRICS_PATH}").read() == b"text"
        assert urllib.request.urlopen(url, b"body").read() == b"body"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{url}/else")
        huge = urllib.request.Request(url, b"x", {"Content-Length": "99999999999"})
        with pytest.raises(urllib.error.HTTPError, match="413"):
            urllib.request.urlopen(huge)
    finally:
        front.stop()


def test_log_line_is_one_json_object():
    stream, log = io.StringIO(), logging.getLogger("imgcap.test")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    log.addHandler(handler)
    log.propagate, log.level = False, logging.INFO
    try:
        raise ValueError("two\nlines")
    except ValueError:
        log.warning("said %s", "“so”", extra={"model": "m", "version": 3}, exc_info=True)
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert (entry["level"], entry["message"]) == ("WARNING", "said “so”")
    assert (entry["model"], entry["version"]) == ("m", 3)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", entry["time"])
    assert "ValueError: two" in entry["traceback"] and "msg" not in entry
