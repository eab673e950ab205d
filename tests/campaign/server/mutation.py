"""Messages changed at random, field by field: what a caller who knows the protos may send."""

import random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_INTEGERS = (0, 1, -1, 2, 7, 33, 255, 256, 1000, 10**6, 10**9, 2**31 - 1, -(2**31), 2**31) + (
    *(2**32 - 1, 2**53, 2**62, 2**63 - 1, -(2**63), 2**64 - 1),
)
_FLOATS = (0.0, -0.0, 1.0, 1e-45, 3e38, float("inf"), float("-inf"), float("nan"))
_TEXTS = (
    "",
    "imgcap",
    "nope",
    "serving_default",
    "decode",
    "describe",
    "raises",
    "image_bytes",
    "query",
    "stable",
    "signature_def",
    "__saved_model_init_op",
    "../..",
    "a" * 5000,
    "\x00",
    "é",
    "🙂",
    "{}",
    "tensorflow/serving/classify",
    "tensorflow/serving/regress",
    "tensorflow/serving/predict",
)
_BYTES = (b"", b"x", b"four", b"bad", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM")

_DEEPEST = 8

_LIMITS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-(2**31), 2**31 - 1),
}


def mutate(message: Message, rng: random.Random, depth: int = 0) -> None:
    """Changes one field of a message, or of a message inside it.

    Args:
        message: is changed.
        rng: decides what.
        depth: how deep in the message this one stands.
    """
    if depth > _DEEPEST or not message.DESCRIPTOR.fields:
        return
    field = rng.choice(message.DESCRIPTOR.fields)
    if rng.random() < 0.1:
        message.ClearField(field.name)
    elif _is_map(field):
        _mutate_map(message, field, rng, depth)
    elif field.is_repeated:
        _mutate_list(getattr(message, field.name), field, rng, depth)
    elif field.message_type is not None:
        inner = getattr(message, field.name)
        inner.SetInParent()
        mutate(inner, rng, depth + 1)
    else:
        setattr(message, field.name, draw(field, rng))


def draw(field: FieldDescriptor, rng: random.Random) -> Any:
    """Draws a value for a field that is no message."""
    if field.cpp_type in _LIMITS:
        least, most = _LIMITS[field.cpp_type]
        number = rng.choice(_INTEGERS) if rng.random() < 0.7 else rng.randint(0, 30)
        return min(max(number, least), most)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return rng.random() < 0.5
    if field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return rng.choice(_FLOATS)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return rng.choice(_BYTES) if rng.random() < 0.7 else rng.randbytes(rng.randint(0, 300))
    return rng.choice(_TEXTS)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _mutate_map(message: Message, field: FieldDescriptor, rng: random.Random, depth: int) -> None:
    entries = getattr(message, field.name)
    key_field, value_field = field.message_type.fields
    keys = list(entries)
    key = rng.choice(keys) if keys and rng.random() < 0.7 else draw(key_field, rng)
    if rng.random() < 0.1:
        entries.pop(key, None)
    elif value_field.message_type is not None:
        mutate(entries[key], rng, depth + 1)
    else:
        entries[key] = draw(value_field, rng)


def _mutate_list(values: Any, field: FieldDescriptor, rng: random.Random, depth: int) -> None:
    # Only near the top are many, else messages grow without an end.
    number = rng.choice((1, 1, 1, 2, 40, 300)) if depth < 3 else 1
    if len(values) and rng.random() < 0.3:
        del values[rng.randrange(len(values)) :]
    elif field.message_type is None:
        values.extend(draw(field, rng) for _ in range(number))
    elif len(values) and rng.random() < 0.5:
        mutate(rng.choice(list(values)), rng, depth + 1)
    else:
        for _ in range(number):
            mutate(values.add(), rng, depth + (1 if number == 1 else 3))


def mutate_bytes(text: bytes, rng: random.Random) -> bytes:
    """Changes a few bytes of a text, cuts it, or puts bytes in."""
    changed = bytearray(text)
    for _ in range(rng.randint(1, 5)):
        place = rng.randrange(len(changed) + 1)
        kind = rng.random()
        if kind < 0.5 and place < len(changed):
            changed[place] = rng.randrange(256)
        elif kind < 0.7:
            changed[place:place] = rng.randbytes(rng.randint(1, 8))
        elif kind < 0.9:
            del changed[place : place + rng.randint(1, 8)]
        else:
            del changed[place:]
    return bytes(changed)


def mutate_json(value: Any, rng: random.Random) -> Any:
    """Changes one place of a tree of JSON."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        changed = dict(value)
        if rng.random() < 0.15:
            del changed[key]
        else:
            changed[key] = mutate_json(value[key], rng)
        return changed
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.randrange(len(value))
        return [*value[:place], mutate_json(value[place], rng), *value[place + 1 :]]
    nested: Any = rng.choice((1, "x", []))
    for _ in range(rng.choice((1, 2, 34, 150))):
        nested = [nested] if rng.random() < 0.9 else {"b64": nested}
    return rng.choice(
        (
            None,
            True,
            0,
            -1,
            0.5,
            1e308,
            2**63,
            2**64,
            10**400,
            "",
            "x",
            "\ud800",
            "🙂",
            [],
            {},
            [[]],
            [[1], [1, 2]],
            {"b64": "!"},
            {"b64": "QUJD"},
            {"b64": 3},
            nested,
            value,
            [value] * 20,
            {"image_bytes": value},
        )
    )
