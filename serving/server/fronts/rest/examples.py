"""Makes examples for Classify and Regress from values of JSON (util/json_tensor.cc).

An example is an object; each member is a feature, a value or a list of values of one kind: texts
and {"b64": "…"} are bytes, true, false and integers are int64, decimals are float.
"""

import numpy as np
from tensorflow.core.example.example_pb2 import Example
from tensorflow.core.example.feature_pb2 import Feature
from tensorflow_serving.apis.input_pb2 import Input

from serving.server.fronts.rest.base64_text import decode_base64, is_base64
from serving.server.fronts.rest.json_excerpt import json_type, value_text
from serving.server.fronts.rest.json_text import JsonObject, JsonValue, Missing, name_text
from serving.server.request_error import invalid

_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def input_of_query(query: JsonObject) -> Input:
    """Makes the input of a request to classify or regress.

    Args:
        query: an object with `examples`, a list of at least one, and perhaps `context`, an example
            whose features all of them share.

    Raises:
        RequestError: anything else.
    """
    made = Input()
    context = query.find(b"context")
    if not isinstance(context, Missing):
        made.example_list_with_context.context.CopyFrom(_example(context))
    examples = query.find(b"examples")
    if isinstance(examples, Missing):
        # The real server says so to those who regress, too.
        raise _refusal(
            query, "When method is classify, key 'examples' is expected and was not found"
        )
    if not isinstance(examples, list):
        raise _refusal(query, "Expecting 'examples' value to be an list/array")
    if not examples:
        raise _refusal(query, "'examples' value is an empty array")
    has_context = made.WhichOneof("kind") is not None
    target = made.example_list_with_context if has_context else made.example_list
    target.examples.extend(_example(value) for value in examples)
    return made


def _refusal(query: JsonObject, reason: str) -> Exception:
    return invalid(f"JSON Value: {value_text(query)} {reason}")


def _example(value: JsonValue) -> Example:
    if not isinstance(value, JsonObject):
        raise invalid(f"Example must be JSON object but got JSON {json_type(value)}")
    example = Example()
    for key, content in value.members:
        name = name_text(key)
        feature = Feature()
        for entry in content if isinstance(content, list) else [content]:
            _add_value(entry, name, feature)
        # A name that is no UTF-8 has no place in a message.
        example.features.feature[name.encode("utf-8", "replace").decode()].CopyFrom(feature)
    return example


def _add_value(value: JsonValue, name: str, feature: Feature) -> None:
    if isinstance(value, bytes) or is_base64(value):
        kind: str = "bytes_list"
    elif isinstance(value, bool | int):
        kind = "int64_list"
    elif isinstance(value, float):
        kind = "float_list"
    else:
        raise invalid(f"Feature: {name} has element with unexpected JSON type: {json_type(value)}")
    present = feature.WhichOneof("kind")
    if present not in (None, kind):
        raise invalid(
            f"Unexpected element type in feature: {name} expecting type: {_KINDS[present]}"
        )
    if isinstance(value, int) and value >= 2**63:
        raise invalid(f"Feature: {name} has uint64 element. Only int64 is supported.")
    if isinstance(value, JsonObject):
        feature.bytes_list.value.append(decode_base64(value))
    elif isinstance(value, float):
        with np.errstate(over="ignore"):
            feature.float_list.value.append(float(np.float32(value)))
    else:
        # true and false are 1 and 0; the list itself takes no booleans.
        getattr(feature, kind).value.append(int(value) if isinstance(value, bool) else value)
