"""Paths, methods, headers, states and metadata over REST, as TensorFlow Serving 2.20 has them."""

import gzip
import json

import pytest

from tests.serving.server.contract.parcel_model import NAME
from tests.serving.server.contract.rest_questions import MODEL, ONE, PREDICT, error_of, weighed

MALFORMED = "Malformed request: "


@pytest.mark.parametrize(
    "method, path, status, error",
    [
        (
            "POST",
            f"{MODEL}/versions/7:predict",
            404,
            f"Servable not found for request: Specific({NAME}, 7)",
        ),
        ("POST", f"{MODEL}/versions/two:predict", 400, MALFORMED),
        ("POST", f"{MODEL}/versions/-1:predict", 400, MALFORMED),
        ("POST", f"{MODEL}/versions:predict", 400, MALFORMED),
        (
            "POST",
            f"{MODEL}/labels/canary:predict",
            400,
            "Unrecognized servable version label: canary",
        ),
        ("POST", f"{MODEL}/labels/:predict", 400, MALFORMED),
        ("POST", f"{MODEL}/versions/1/labels/canary:predict", 400, MALFORMED),
        ("POST", "/v1/models/crate:predict", 404, "Servable not found for request: Latest(crate)"),
        (
            "POST",
            "/v1/models/cr%61te:predict",
            404,
            "Servable not found for request: Latest(crate)",
        ),
        (
            "POST",
            "/v1/models/cr%zzte:predict",
            404,
            "Servable not found for request: Latest(cr%zzte)",
        ),
        ("POST", "/v1/models/:predict", 400, MALFORMED),
        ("POST", MODEL, 400, MALFORMED),
        ("POST", f"{MODEL}:weigh", 400, MALFORMED),
        ("POST", f"{MODEL}:Predict", 400, MALFORMED),
        ("POST", f"{MODEL}:predict?verbose=1", 400, MALFORMED),
        ("POST", f"{MODEL}:predict/", 400, MALFORMED),
        ("POST", f"{MODEL}/metadata", 400, MALFORMED),
        ("PUT", PREDICT, 400, MALFORMED),
        ("DELETE", PREDICT, 400, MALFORMED),
        ("PATCH", MODEL, 400, MALFORMED),
        ("OPTIONS", PREDICT, 400, MALFORMED),
        ("GET", PREDICT, 400, MALFORMED),
        ("GET", f"{MODEL}/", 400, MALFORMED),
        ("GET", "/v1/models/", 400, MALFORMED),
        ("GET", "/v1/other", 400, MALFORMED),
        ("GET", "/v1/models", 400, "Missing model name in request."),
        (
            "GET",
            "/v1/models/metadata/metadata",
            404,
            "Servable not found for request: Latest(metadata)",
        ),
        ("GET", "/v1/models/crate", 404, "Could not find any versions of model crate"),
        ("GET", f"{MODEL}?a=b", 404, f"Could not find any versions of model {NAME}?a=b"),
        ("GET", f"{MODEL}/versions/7", 404, f"Could not find version 7 of model {NAME}"),
        ("GET", "/v1/models/crate/metadata", 404, "Servable not found for request: Latest(crate)"),
    ],
)
def test_paths_and_methods(ask, method, path, status, error):
    answer = ask(method, path, ONE if method in ("POST", "PUT", "PATCH") else b"")
    expected = f"{MALFORMED}{method} {path}" if error == MALFORMED else error
    assert (answer.status, error_of(answer)) == (status, expected)


@pytest.mark.parametrize("path", ["/", "/v2/models", "//v1/models/parcel", "/v1", "/metrics"])
def test_paths_of_no_api_are_a_page(ask, path):
    answer = ask("GET", path)
    assert (answer.status, answer.content_type) == (404, "text/html")
    assert "<H1>Not Found</H1>" in answer.text


@pytest.mark.parametrize(
    "method, path",
    [
        ("POST", f"{MODEL}/versions/18446744073709551616:predict"),
        ("GET", f"{MODEL}/versions/9223372036854775808"),
        ("GET", f"{MODEL}/versions/{'9' * 5000}"),
    ],
)
def test_a_version_that_is_no_number_of_64_bits_has_no_text(ask, method, path):
    answer = ask(method, path, ONE if method == "POST" else b"")
    assert answer == (400, "application/json", "")


@pytest.mark.parametrize(
    "path",
    [
        PREDICT,
        "/V1/Models/parcel:predict",
        "/v1/models/parc%65l:predict",
        f"{MODEL}/versions/002:predict",
    ],
)
def test_ways_to_the_newest_version(ask, path):
    answer = ask("POST", path, ONE)
    assert json.loads(answer.text) == {"predictions": weighed((2, "YWI="))}


def test_an_older_version_by_its_number(ask):
    answer = ask("POST", f"{MODEL}/versions/1:predict", ONE)
    assert json.loads(answer.text) == {"predictions": weighed((2, "YWI="), version=1.0)}


@pytest.mark.parametrize(
    "headers, body",
    [
        ({"Content-Type": "text/csv"}, ONE),
        ({"Content-Type": "multipart/form-data"}, ONE),
        ({"Accept": "image/*", "Accept-Encoding": "gzip, br"}, ONE),
        ({"Expect": "100-continue"}, ONE),
        ({"Origin": "http://elsewhere", "X-Odd": "\xe9"}, ONE),
        ({"Content-Encoding": "gzip"}, gzip.compress(ONE, mtime=0)),
    ],
)
def test_headers(ask, headers, body):
    answer = ask("POST", PREDICT, body, headers)
    assert (answer.status, answer.content_type) == (200, "application/json")
    assert json.loads(answer.text) == {"predictions": weighed((2, "YWI="))}


def test_a_body_that_is_said_to_be_gzip_and_is_not(ask):
    answer = ask("POST", PREDICT, ONE, {"Content-Encoding": "gzip"})
    assert (answer.status, error_of(answer)) == (400, "JSON Parse error: The document is empty")


def test_states_of_versions(ask):
    entry = """  {{
   "version": "{}",
   "state": "AVAILABLE",
   "status": {{
    "error_code": "OK",
    "error_message": ""
   }}
  }}"""
    text = '{{\n "model_version_status": [\n{}\n ]\n}}\n'
    both = f"{entry.format(2)},\n{entry.format(1)}"
    assert ask("GET", MODEL) == (200, "application/json", text.format(both))
    one = ask("GET", f"{MODEL}/versions/1")
    assert one == (200, "application/json", text.format(entry.format(1)))


@pytest.mark.parametrize("way, version", [("", "2"), ("/versions/1", "1")])
def test_metadata(ask, way, version):
    answer = ask("GET", f"{MODEL}{way}/metadata")
    assert (answer.status, answer.content_type) == (200, "application/json")
    start = (
        f'{{\n"model_spec":{{\n "name": "{NAME}",\n "signature_name": "",\n "version": '
        f'"{version}"\n'
        '}\n,\n"metadata": {"signature_def": {\n "signature_def": {\n'
    )
    assert answer.text.startswith(start) and answer.text.endswith("}\n}\n}\n")
    signatures = json.loads(answer.text)["metadata"]["signature_def"]["signature_def"]
    names = {"serving_default", "halve", "blend", "single", "kinds", "rate", "sort", "price"}
    assert {name for name in signatures if not name.startswith("_")} == names
    assert signatures["halve"]["inputs"]["x"] == {
        "dtype": "DT_FLOAT",
        "tensor_shape": {
            "dim": [{"size": "-1", "name": ""}, {"size": "3", "name": ""}],
            "unknown_rank": False,
        },
        "name": "halve_x:0",
    }
