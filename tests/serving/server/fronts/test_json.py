"""JSON as the real server reads and writes it: values, errors and offsets, layout, numbers."""

import json
import math
import random
import struct

import numpy as np
import pytest

from serving.server.fronts.rest import json_text
from serving.server.fronts.rest.json_excerpt import MAX_EXCERPT, value_text
from serving.server.fronts.rest.json_text import MISSING, JsonObject, JsonValue, read_json
from serving.server.fronts.rest.json_writer import JsonWriter, decimals
from serving.server.request_error import RequestError


def plain(value: JsonValue) -> object:
    """A value as Python's own reader gives it."""
    if isinstance(value, JsonObject):
        return {name.decode(): plain(entry) for name, entry in value.members}
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    return value.decode() if isinstance(value, bytes) else value


def random_value(random: random.Random, depth: int) -> object:
    kind = random.randrange(8 if depth else 6)
    if kind == 6:
        return [random_value(random, depth - 1) for _ in range(random.randrange(4))]
    if kind == 7:
        return {random_text(random): random_value(random, depth - 1) for _ in range(3)}
    if kind == 5:
        return [random.uniform(-9, 9) if random.random() < 0.5 else random.randrange(99)] * 3
    number = random.choice([0, -1, 2**31, -(2**63), 2**64 - 1, 1.5, -2e-7, 1e300, 0.1])
    return [None, True, False, number, random_text(random)][kind]


def random_text(random: random.Random) -> str:
    return "".join(random.choices('ab"\\/\n\x01é€😀 [{,:', k=random.randrange(6)))


@pytest.mark.parametrize("seed", range(20))
def test_reads_what_the_standard_reader_reads(seed):
    source = random.Random(seed)
    for _ in range(20):
        value = random_value(source, 4)
        for indent, is_ascii in ((None, True), (2, False)):
            text = json.dumps(value, indent=indent, ensure_ascii=is_ascii).encode()
            assert plain(read_json(text)) == value
            assert repr(plain(read_json(text))) == repr(value)  # 1 is not 1.0 nor True


@pytest.mark.parametrize(
    "text, error, offset",
    [
        (b"", "The document is empty", None),
        (b" \n\t\r", "The document is empty.", 4),
        (b"\xef\xbb\xbf", "The document is empty.", 3),
        (b"\0", "The document is empty.", 0),
        (b"\xa0[]", "Invalid value.", 0),
        (b"nulL", "Invalid value.", 3),
        (b"[fals]", "Invalid value.", 5),
        (b"True", "Invalid value.", 0),
        (b"'a'", "Invalid value.", 0),
        (b"[1,]", "Invalid value.", 3),
        (b"[,1]", "Invalid value.", 1),
        (b"[1 2]", "Missing a comma or ']' after an array element.", 3),
        (b"[00]", "Missing a comma or ']' after an array element.", 2),
        (b"[0x1]", "Missing a comma or ']' after an array element.", 2),
        (b"[[1,2],[3", "Missing a comma or ']' after an array element.", 9),
        (b"[1}", "Missing a comma or ']' after an array element.", 2),
        (b"{", "Missing a name for object member.", 1),
        (b"{1:2}", "Missing a name for object member.", 1),
        (b'{"a":1,}', "Missing a name for object member.", 7),
        (b'{"a":1,//x\n"b":2}', "Missing a name for object member.", 7),
        (b'{"a" 1}', "Missing a colon after a name of object member.", 5),
        (b'{"a":1 "b":2}', "Missing a comma or '}' after an object member.", 7),
        (b'{"a":[1,2]', "Missing a comma or '}' after an object member.", 10),
        (b'["abc', "Missing a closing quotation mark in string.", 5),
        (b'["a\0b"]', "Missing a closing quotation mark in string.", 3),
        (b'["a\nb"]', "Invalid escape character in string.", 3),
        (rb'["a\x41"]', "Invalid escape character in string.", 3),
        (b'["\\', "Invalid escape character in string.", 2),
        (rb'["ab\u12g4"]', "Incorrect hex digit after \\u escape in string.", 4),
        (rb'["\uD83D"]', "The surrogate pair in string is invalid.", 2),
        (rb'["x\uD83D\u0041"]', "The surrogate pair in string is invalid.", 3),
        (b"-", "Invalid value.", 1),
        (b"[-a]", "Invalid value.", 2),
        (b"+1", "Invalid value.", 0),
        (b".5", "Invalid value.", 0),
        (b"[1.]", "Miss fraction part in number.", 3),
        (b"[1.e5]", "Miss fraction part in number.", 3),
        (b"[1e]", "Miss exponent in number.", 3),
        (b"[1e+]", "Miss exponent in number.", 4),
        (b"[2,1e309]", "Number too big to be stored in double.", 3),
        (b"[-0.1e310]", "Number too big to be stored in double.", 1),
        (b" " + b"9" * 310, "Number too big to be stored in double.", 1),
        (b"Nan", "Invalid value.", 2),
        (b"[Infinit]", "Invalid value.", 8),
        (b"-Ifinity", "Invalid value.", 2),
    ],
)
def test_errors_and_their_offsets(text, error, offset):
    with pytest.raises(RequestError) as caught:
        read_json(text)
    where = "" if offset is None else f" at offset: {offset}"
    assert caught.value.details == f"JSON Parse error: {error}{where}"


@pytest.mark.parametrize(
    "text, value",
    [
        (b"\xef\xbb\xbf[1]", [1]),
        (b"[1] and more", [1]),
        (b'["\xff\xfe"]', [b"\xff\xfe"]),
        (rb'["\udc00\ud83d\ude00\u0000"]', [b"\xed\xb0\x80\xf0\x9f\x98\x80\0"]),
        (rb'["\"\\\/\b\f\n\r\t"]', [b'"\\/\b\f\n\r\t']),
        (b"-0", 0),
        (b"-9223372036854775808", -(2**63)),
        (b"18446744073709551615", 2**64 - 1),
        (b"18446744073709551616", 2.0**64),
        (b"-9223372036854775809", -(2.0**63)),
        (b"1E2", 100.0),
        (b"0.1e309", 1e308),
        (b"1e-400", 0.0),
        (b"123456789e-320", 1.23456789e-312),
        (b"[Infinity,-Inf,Inf,-Infinity]", [math.inf, -math.inf, math.inf, -math.inf]),
        (b'{"a":1,"a":2}', JsonObject([(b"a", 1), (b"a", 2)])),
    ],
)
def test_odd_values(text, value):
    assert repr(read_json(text)) == repr(value)


def test_nan_and_first_of_two_members():
    assert math.isnan(read_json(b"NaN")) and math.isnan(read_json(b"-NaN"))  # type: ignore[arg-type]  # a number it is
    query = read_json(b'{"a":1,"b":null,"a":2}')
    assert isinstance(query, JsonObject)
    assert query.find(b"a") == 1 and query.find(b"b") is None and query.find(b"c") is MISSING


def test_long_lists_are_read_in_pieces():
    numbers = [i / 8 if i % 3 else i for i in range(40_000)]
    numbers[20_000] = 2**63
    text = json.dumps({"x": [numbers, numbers[:5]], "y": 1}).encode()
    assert plain(read_json(text)) == {"x": [numbers, numbers[:5]], "y": 1}
    at = text.index(b"9223372036854775808")
    with pytest.raises(RequestError, match=f"after an array element. at offset: {at + 2}$"):
        read_json(text.replace(b"9223372036854775808", b"9 23"))


@pytest.mark.parametrize("indent", [None, 1])
def test_lists_of_lists_of_numbers(indent):
    for shape in ((9_000, 2), (2, 300, 3), (1, 2, 40, 1, 2), (700, 0)):
        values = np.arange(math.prod(shape)).reshape(shape).tolist()
        text = json.dumps([values, 1, {"x": values}], indent=indent).encode()
        assert plain(read_json(text)) == [values, 1, {"x": values}]
    values[500] = [0.5, None]
    assert plain(read_json(json.dumps(values, indent=indent).encode())) == values


def test_what_one_text_may_make_is_limited(monkeypatch):
    assert value_text(read_json(b"[" * 9_999 + b"]" * 9_999)) == "[" * 9_999 + "]" * 9_999
    for deep in (b"[" * 100_000, b'{"a":' * 100_000):
        with pytest.raises(RequestError, match="More than 10000 nested lists and objects"):
            read_json(deep)
    monkeypatch.setattr(json_text, "MAX_VALUES", 1000)
    monkeypatch.setattr(json_text, "MAX_NUMBERS", 10_000)
    for many in (b"[" + b"[]," * 1000 + b"[]]", b'["' + rb"\n" * 1000 + b'"]'):
        with pytest.raises(RequestError, match="More than 1000 values"):
            read_json(many)
    with pytest.raises(RequestError, match="More than 10000 numbers"):
        read_json(b"[" + b"1," * 10_000 + b"1]")


@pytest.mark.parametrize(
    "value, text",
    [
        (None, "null"),
        ([True, False, -3, b'q"\\\n\x1f/\xff'], '[true, false, -3, "q\\"\\\\\\n\\u001F/\udcff"]'),
        (JsonObject([]), "{}"),
        (JsonObject([(b"a", []), (b"b", JsonObject([(b"c", 1)]))]), None),
        ([[], [[1], JsonObject([(b"a", 2)])]], None),
        (2.5, "2.5"),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (16777217.0, "16777216.0"),
        (math.nan, "NaN"),
        (
            [1.0, 1e21, 1.5e-7, 1e-6, 123456.789, -0.0],
            "[1.0, 1e21, 1.5e-7, 0.000001, 123456.789, -0.0]",
        ),
        ([1, 12345678901234567890.0], "[1, 12345678901234567000.0]"),
        ([b"a", math.inf, b"b"], '["a"'),
    ],
)
def test_values_in_the_texts_of_errors(value, text):
    layouts = {
        1: '{\n    "a": [],\n    "b": {\n        "c": 1\n    }\n}',
        2: '[[], [[1], {\n            "a": 2\n        }]]',
    }
    assert value_text(value) == (text or layouts[1 if isinstance(value, JsonObject) else 2])


def test_the_text_of_an_error_has_an_end():
    nested: JsonValue = 1
    for _ in range(5_000):
        nested = JsonObject([(b"a", nested)])
    assert len(value_text(nested)) <= MAX_EXCERPT and len(value_text(b"x" * 10**6)) <= MAX_EXCERPT


def test_decimals_give_their_number_back_and_are_short_if_they_can():
    assert decimals([0.5, 2, 3e-5, 9e6, -0.0, math.nan, -math.inf]) == [
        b"0.5", b"2.0", b"3e-05", b"9e+06", b"-0.0", b"NaN", b"-Infinity",
    ]  # fmt: off
    third = float(np.float32(1 / 3))
    assert decimals([third]) == [b"0.333333343"]
    assert decimals([1 / 3], double=True) == [b"0.33333333333333331"]
    source = random.Random(1)
    bits = [struct.unpack("f", source.randbytes(4))[0] for _ in range(2000)]
    finite = [value for value in bits if math.isfinite(value)]
    back = np.array([float(text) for text in decimals(finite)], np.float32)
    assert (back == np.array(finite, np.float32)).all()


def test_the_layout_of_lists_and_objects():
    writer = JsonWriter()
    writer.start_object()
    writer.write_text(b"rows")
    writer.start_list()
    for entries in ([b"1", b"2"], [b"3"]):
        writer.single_line = True
        writer.start_list()
        writer.write_entries(entries)
        writer.end_list()
        writer.single_line = False
    writer.end_list()
    writer.write_text(b"none")
    writer.start_list()
    writer.end_list()
    writer.end_object()
    text = '{\n    "rows": [[1, 2], [3]\n    ],\n    "none": []\n}'
    assert writer.text().decode() == text and writer.size == len(text)
