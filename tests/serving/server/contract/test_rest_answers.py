"""What TensorFlow Serving 2.20 answers over REST, to the byte."""

import json
from typing import Any

import pytest

from tests.serving.server.contract.rest_questions import MODEL, PREDICT, error_of, of, weighed


def in_columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: [row[name] for row in rows] for name in rows[0]}


PEARS = weighed((9, "cnM="))
ROW = {"predictions": PEARS}
COLUMN = {"outputs": in_columns(PEARS)}


@pytest.mark.parametrize(
    "body, value",
    [
        (b'{"instances": [{"b64": "dGVuIHBlYXJz"}]}', ROW),
        (b'{"instances": [{"parcel": {"b64": "dGVuIHBlYXJz"}}]}', ROW),
        (b'{"instances": [{"parcel": "ten pears"}]}', ROW),
        (b'{"instances": ["ten pears"]}', ROW),
        (b'{"inputs": {"parcel": [{"b64": "dGVuIHBlYXJz"}]}}', COLUMN),
        (b'{"inputs": {"parcel": ["ten pears"]}}', COLUMN),
        (b'{"inputs": ["ten pears"]}', COLUMN),
        (b'\xef\xbb\xbf{"inputs": ["ten pears"]}', COLUMN),
        (b'{"inputs": ["ten pears"]}{"inputs": 7}', COLUMN),
        (b' \n{ "inputs" :\t[ "ten pears" ] }\r\n', COLUMN),
        (b'{"note": {"a": [1]}, "instances": ["ten pears"], "id": null}', ROW),
        (b'{"signature_name": "", "instances": ["ten pears"]}', ROW),
        (b'{"signature_name": "serving_default", "instances": ["ten pears"]}', ROW),
        (b'{"instances": ["ten pears"], "instances": ["plums"]}', ROW),
        (b'{"instances": [{"parcel\\u0000s": "ten pears"}]}', ROW),
        (b'{"instances": [{"b64": " dGVu\\nIHBlYXJz\\t"}]}', ROW),
        (b'{"instances": ["ab", ""]}', {"predictions": weighed((2, "YWI="), (0, ""))}),
        (b'{"instances": [{"b64": "cGx1bQ"}]}', {"predictions": weighed((4, "dW0="))}),
        (b'{"instances": [{"b64": "cGx1bQ=="}]}', {"predictions": weighed((4, "dW0="))}),
        (b'{"instances": [{"b64": "cGx1bQ.."}]}', {"predictions": weighed((4, "dW0="))}),
        (b'{"instances": [{"b64": ""}]}', {"predictions": weighed((0, ""))}),
        (b'{"instances": ["\\u00fc\\u0000"]}', {"predictions": weighed((3, "vAA="))}),
        (b'{"instances": ["\\ud83c\\udf50"]}', {"predictions": weighed((4, "jZA="))}),
        (b'{"instances": ["\xfe"]}', {"predictions": weighed((1, "/g=="))}),
        (b'{"inputs": {"parcel": []}}', {"outputs": dict.fromkeys(PEARS[0], [])}),
        (
            b'{"inputs": {"parcel": ["ab"], "other": 1}}',
            {"outputs": in_columns(weighed((2, "YWI=")))},
        ),
        (
            b'{"instances": [["ab"], ["cde"]]}',
            {
                "predictions": [
                    {
                        "label": ["weighs 2"],
                        "size": [2],
                        "tail_bytes": [{"b64": "YWI="}],
                        "pair": [[2.0], [2.0]],
                    },
                    {
                        "label": ["weighs 3"],
                        "size": [3],
                        "tail_bytes": [{"b64": "ZGU="}],
                        "pair": [[3.0], [2.0]],
                    },
                ]
            },
        ),
    ],
)
def test_byte_strings(ask, body, value):
    answer = ask("POST", PREDICT, body)
    assert (answer.status, answer.content_type) == (200, "application/json")
    assert json.loads(answer.text) == value


@pytest.mark.parametrize(
    "body, text",
    [
        (of("halve", '"instances": [[1, 2, 3]]'), "[[0.5, 1.0, 1.5]\n    ]"),
        (
            of("halve", '"instances": [[1, 2e3, -3], [0.2, 16777218, 1e-9]]'),
            "[[0.5, 1000.0, -1.5], [0.1, 8388609.0, 5e-10]\n    ]",
        ),
        (of("halve", '"instances": [[1, 2]]'), "[[0.5, 1.0]\n    ]"),
        (of("halve", '"instances": [[NaN, -Infinity, Inf]]'), "[[NaN, -Infinity, Infinity]\n    ]"),
        (of("halve", '"instances": [[1e39, -2e300, 0]]'), "[[Infinity, -Infinity, 0.0]\n    ]"),
        (of("halve", '"instances": [[18446744073709551615]]'), "[[9.22337204e+18]\n    ]"),
        (of("halve", '"instances": [[]]'), "[[]\n    ]"),
        (of("halve", '"instances": [[[2], [4]]]'), "[[[1.0], [2.0]]\n    ]"),
        (of("halve", '"instances": [3]'), "[1.5\n    ]"),
        (of("single", '"instances": [3]'), "[2.0\n    ]"),
        (
            of("blend", '"instances": [{"weight": 3, "count": 2}, {"count": 0, "weight": -1}]'),
            """[
        {
            "product": 6.0,
            "ratio": 1.5
        },
        {
            "product": -0.0,
            "ratio": -Infinity
        }
    ]""",
        ),
        (
            b'{"instances": ["ab"]}',
            """[
        {
            "label": "weighs 2",
            "pair": [2.0, 2.0],
            "size": 2,
            "tail_bytes": {
                "b64": "YWI="
            }
        }
    ]""",
        ),
    ],
)
def test_layout_of_rows(ask, body, text):
    answer = ask("POST", PREDICT, body)
    assert answer == (200, "application/json", f'{{\n    "predictions": {text}\n}}')


@pytest.mark.parametrize(
    "body, text",
    [
        (of("single", '"inputs": 3'), "2.0"),
        (of("single", '"inputs": {"x": -0.5}'), "-1.5"),
        (
            of("halve", '"inputs": {"x": [[1, 3]]}'),
            "[\n        [\n            0.5,\n            1.5\n        ]\n    ]",
        ),
        (of("halve", '"inputs": []'), "[]"),
        (
            of("blend", '"inputs": {"count": [2, 0], "weight": [1, 0]}'),
            """{
        "product": [
            2.0,
            0.0
        ],
        "ratio": [
            0.5,
            NaN
        ]
    }""",
        ),
        (
            b'{"inputs": ["ab"]}',
            """{
        "label": [
            "weighs 2"
        ],
        "pair": [
            [
                2.0,
                2.0
            ]
        ],
        "size": [
            2
        ],
        "tail_bytes": [
            {
                "b64": "YWI="
            }
        ]
    }""",
        ),
    ],
)
def test_layout_of_columns(ask, body, text):
    answer = ask("POST", PREDICT, body)
    assert answer == (200, "application/json", f'{{\n    "outputs": {text}\n}}')


@pytest.mark.parametrize("depth", [2, 9, 33, 65, 100, 200])
def test_lists_in_lists(ask, depth):
    body = b'{"inputs":%s"xyz"%s}' % (b"[" * depth, b"]" * depth)
    outputs = json.loads(ask("POST", PREDICT, body).text)["outputs"]
    for _ in range(depth - 1):
        (outputs["size"],) = outputs["size"]
        (outputs["tail_bytes"],) = outputs["tail_bytes"]
    assert outputs["size"] == [3] and outputs["tail_bytes"] == [{"b64": "eXo="}]


@pytest.mark.parametrize("depth", [255, 256, 1000, 5000])
def test_lists_in_lists_that_no_tensor_has(ask, depth):
    answer = ask("POST", PREDICT, b'{"inputs":%s"xyz"%s}' % (b"[" * depth, b"]" * depth))
    assert answer.status == 400 and error_of(answer) == "tensor parsing error: parcel"


EXAMPLES = '"examples": [{"n": 0.75}, {"n": [0.25]}]'


@pytest.mark.parametrize(
    "action, body, text",
    [
        (
            "classify",
            of("sort", EXAMPLES),
            '[[["heavy", 0.75], ["light", 0.25]], [["heavy", 0.25], ["light", 0.75]]\n    ]',
        ),
        (
            "classify",
            of("sort", '"context": {"n": 1.0}, "examples": [{"other": ["a", {"b64": "YQ=="}]}]'),
            '[[["heavy", 1.0], ["light", 0.0]]\n    ]',
        ),
        ("regress", of("price", EXAMPLES), "[7.5, 2.5]"),
    ],
)
def test_classes_and_values_of_examples(ask, action, body, text):
    answer = ask("POST", f"{MODEL}:{action}", body)
    assert answer == (200, "application/json", f'{{\n    "results": {text}\n}}')
