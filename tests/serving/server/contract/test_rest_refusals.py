"""What TensorFlow Serving 2.20 refuses over REST, and in which words."""

import pytest

from tests.serving.server.contract.rest_questions import (
    MODEL,
    PREDICT,
    error_of,
    mistyped,
    of,
    parse_error,
    whole,
)

INVALID = "INVALID_ARGUMENT: "
ROW_0 = "Failed to process element: 0 of 'instances' list. "
INVALID_0 = f"{ROW_0}Error: INVALID_ARGUMENT: "
INVALID_1 = INVALID_0.replace("element: 0", "element: 1")


def of_key(key: str, error: str, index: int = 0) -> str:
    return f"Failed to process element: {index} key: {key} of 'instances' list. Error: {error}"


@pytest.mark.parametrize(
    "body, error",
    [
        # What is no JSON.
        (b"", "JSON Parse error: The document is empty"),
        (b"\n \n", parse_error("The document is empty.", 3)),
        (b"parcel", parse_error("Invalid value.", 0)),
        (b'{"instances":["ab"', parse_error("Missing a comma or ']' after an array element.", 18)),
        (b'{"instances":["ab"],}', parse_error("Missing a name for object member.", 20)),
        (b'{"instances":["ab",]}', parse_error("Invalid value.", 19)),
        (
            b'{"instances" ["ab"]}',
            parse_error("Missing a colon after a name of object member.", 13),
        ),
        (
            b'{"instances":["ab"];}',
            parse_error("Missing a comma or '}' after an object member.", 19),
        ),
        (b'{/**/"instances":["ab"]}', parse_error("Missing a name for object member.", 1)),
        (b'{"instances":[007]}', parse_error("Missing a comma or ']' after an array element.", 15)),
        (b'{"instances":[+7]}', parse_error("Invalid value.", 14)),
        (b'{"instances":[1e400]}', parse_error("Number too big to be stored in double.", 14)),
        (b'{"instances":["\\udbff"]}', parse_error("The surrogate pair in string is invalid.", 15)),
        (b'{"instances":["\\q"]}', parse_error("Invalid escape character in string.", 15)),
        # What is no question.
        (b"7", whole("7", "Is not object")),
        (b"true", whole("true", "Is not object")),
        (b'["a", {"b": 2}]', whole('["a", {\n        "b": 2\n    }]', "Is not object")),
        (b"{}", "Missing 'inputs' or 'instances' key"),
        (b'{"input": ["ab"]}', "Missing 'inputs' or 'instances' key"),
        (
            b'{"inputs":["ab"],"instances":["ab"]}',
            whole(
                '{\n    "inputs": ["ab"],\n    "instances": ["ab"]\n}',
                "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to "
                "exist ",
            ),
        ),
        (
            b'{"instances":[]}',
            whole('{\n    "instances": []\n}', "No values in 'instances' array"),
        ),
        (
            b'{"instances":7.5}',
            whole('{\n    "instances": 7.5\n}', "Expecting 'instances' to be an list/array"),
        ),
        (
            b'{"instances":{"parcel":["ab"]}}',
            whole(
                '{\n    "instances": {\n        "parcel": ["ab"]\n    }\n}',
                "Expecting 'instances' to be an list/array",
            ),
        ),
        (
            b'{"instances":["ab"],"signature_name":["halve"]}',
            whole(
                '{\n    "instances": ["ab"],\n    "signature_name": ["halve"]\n}',
                "not formatted correctly. 'signature_name' key must be a string value.",
            ),
        ),
        (
            b'{"signature_name":null,"instances":["ab"]}',
            whole(
                '{\n    "signature_name": null,\n    "instances": ["ab"]\n}',
                "not formatted correctly. 'signature_name' key must be a string value.",
            ),
        ),
        (
            of("third", '"instances": [1]'),
            'Serving signature name: "third" not found in signature def',
        ),
        # Values of the wrong kind.
        (b'{"instances":[null]}', INVALID_0 + mistyped("null", "Null", "string")),
        (b'{"instances":[false]}', INVALID_0 + mistyped("false", "False", "string")),
        (b'{"instances":[2.5]}', INVALID_0 + mistyped("2.5", "Number", "string")),
        (of("halve", '"instances":[["1"]]'), INVALID_0 + mistyped('"1"', "String", "float")),
        (of("halve", '"instances":[[true]]'), INVALID_0 + mistyped("true", "True", "float")),
        (
            of("halve", '"instances":[{"b64":"YQ=="}]'),
            INVALID_0 + mistyped('{\n    "b64": "YQ=="\n}', "Object", "float"),
        ),
        (
            of("blend", '"instances":[{"weight":1,"count":1.0}]'),
            of_key("count", INVALID + mistyped("1.0", "Number", "int64")),
        ),
        (
            of("blend", '"instances":[{"weight":1,"count":9223372036854775808}]'),
            of_key(
                "count",
                INVALID + mistyped("9223372036854775808", "Number", "int64"),
            ),
        ),
        (
            of("kinds", '"instances":[{"byte":256,"flag":0}]'),
            of_key("flag", INVALID + mistyped("0", "Number", "bool")),
        ),
        (
            of("kinds", '"instances":[{"byte":255,"half":0.5}]'),
            of_key("half", "UNIMPLEMENTED: Conversion of JSON Value: 0.5 to type: half"),
        ),
        (
            of("kinds", '"instances":[{"index":-1}]'),
            of_key("index", INVALID + mistyped("-1", "Number", "uint32")),
        ),
        # Base64.
        (b'{"instances":[{"b64":"a"}]}', f"{INVALID_0}Unable to base64 decode"),
        (b'{"instances":[{"b64":"YQ="}]}', f"{INVALID_0}Unable to base64 decode"),
        (b'{"instances":[{"b64":"YWI==="}]}', f"{INVALID_0}Unable to base64 decode"),
        (b'{"instances":[{"b64":"__--"}]}', f"{INVALID_0}Unable to base64 decode"),
        (b'{"instances":[{"b64":"Y=Q="}]}', f"{INVALID_0}Unable to base64 decode"),
        (
            b'{"instances":[{"b64":["YQ=="]}]}',
            of_key("b64", INVALID + "JSON object: does not have named input: b64"),
        ),
        (
            b'{"inputs":[{"c":1}]}',
            'JSON Value: {\n    "c": 1\n} not formatted correctly for base64 data',
        ),
        # Names.
        (
            b'{"instances":[{"parcel":"a","box":"b"}]}',
            of_key("box", INVALID + "JSON object: does not have named input: box"),
        ),
        (
            b'{"instances":[{"\xff":"b"}]}',
            of_key("\udcff", INVALID + "JSON object: does not have named input: \udcff"),
        ),
        (b'{"instances":[{}]}', f"{ROW_0}JSON object: {{}} keys must be equal to: parcel"),
        (
            of("blend", '"instances":[{"weight":1,"count":2},{"count":2}]'),
            "Failed to process element: 1 of 'instances' list. JSON object: {\n    \"count\": 2\n} "
            "keys must be equal to: count,weight",
        ),
        (b'{"inputs":{"box":["b"]}}', "Missing named input: parcel in 'inputs' object."),
        (of("blend", '"inputs":{"count":[1]}'), "Missing named input: weight in 'inputs' object."),
        (of("blend", '"inputs":{}'), "Missing named input: count in 'inputs' object."),
        (
            of("blend", '"inputs":[1]'),
            "inputs is a plain value/list, but expecting an object as multiple input tensors "
            "required as per tensorinfo_map",
        ),
        (
            of("blend", '"instances":[1]'),
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map",
        ),
        (
            b'{"instances":[{"parcel":"a"},"b"]}',
            "Expecting object but got list at item 1 of input list",
        ),
        (
            b'{"instances":["b",{"parcel":"a"}]}',
            "Expecting value/list but got object at item 1 of input list",
        ),
        # Shapes.
        (
            of("halve", '"instances":[[1,2,3],[4,5]]'),
            INVALID_1 + "Expecting tensor size: 3 but got: 2",
        ),
        (
            of("halve", '"instances":[[[1,2]],[[3],[4]]]'),
            INVALID_1 + "Expecting shape [1,2] but got: [2,1]",
        ),
        (
            of("halve", '"instances":[[[1,2],[3]]]'),
            f"{INVALID_0}Encountered list at unexpected size: 1 at level: 1 expected size: 2",
        ),
        (
            of("halve", '"instances":[[1,[2]]]'),
            f"{INVALID_0}Encountered list at unexpected level: 1 expected < 1",
        ),
        (
            of("halve", '"instances":[[[1],2]]'),
            INVALID_0
            + whole("2", "found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        ),
        (
            of("single", '"inputs":{"x":[[1,2],[3,4,5]]}'),
            "Encountered list at unexpected size: 3 at level: 1 expected size: 2",
        ),
    ],
)
def test_refusals(ask, body, error):
    answer = ask("POST", PREDICT, body)
    assert (answer.status, error_of(answer)) == (400, error)


def test_a_type_that_json_does_not_have(ask):
    answer = ask("POST", PREDICT, of("kinds", '"inputs":{"brain":[1]}'))
    assert answer.status == 501
    assert error_of(answer) == "Conversion of JSON Value: 1 to type: bfloat16"


NO_EXAMPLES = "When method is classify, key 'examples' is expected and was not found"


@pytest.mark.parametrize(
    "action, body, error",
    [
        ("classify", b"{}", whole("{}", NO_EXAMPLES)),
        ("regress", b'{"instances":[1]}', whole('{\n    "instances": [1]\n}', NO_EXAMPLES)),
        (
            "classify",
            b'{"examples":{}}',
            whole('{\n    "examples": {}\n}', "Expecting 'examples' value to be an list/array"),
        ),
        (
            "regress",
            b'{"examples":[]}',
            whole('{\n    "examples": []\n}', "'examples' value is an empty array"),
        ),
        ("classify", b'{"examples":[7]}', "Example must be JSON object but got JSON Number"),
        (
            "classify",
            b'{"context":[],"examples":[{}]}',
            "Example must be JSON object but got JSON Array",
        ),
        (
            "classify",
            b'{"examples":[{"n":null}]}',
            "Feature: n has element with unexpected JSON type: Null",
        ),
        (
            "classify",
            b'{"examples":[{"n":[[1]]}]}',
            "Feature: n has element with unexpected JSON type: Array",
        ),
        (
            "classify",
            b'{"examples":[{"n":{"c":1}}]}',
            "Feature: n has element with unexpected JSON type: Object",
        ),
        (
            "classify",
            b'{"examples":[{"n":[1,2.5]}]}',
            "Unexpected element type in feature: n expecting type: int64",
        ),
        (
            "regress",
            b'{"examples":[{"n":["a",true]}]}',
            "Unexpected element type in feature: n expecting type: bytes",
        ),
        (
            "regress",
            b'{"examples":[{"n":9223372036854775808}]}',
            "Feature: n has uint64 element. Only int64 is supported.",
        ),
        ("regress", b'{"examples":[{"n":{"b64":"*"}}]}', "Unable to base64 decode"),
        (
            "classify",
            b'{"examples":[{"parcel":"a"}]}',
            "Expected one or two output Tensors, found 4",
        ),
        (
            "regress",
            of("rate", '"examples":[{"inputs":1.5}]'),
            "Expects arg[0] to be float but string is provided",
        ),
    ],
)
def test_refusals_of_examples(ask, action, body, error):
    answer = ask("POST", f"{MODEL}:{action}", body)
    assert (answer.status, error_of(answer)) == (400, error)
