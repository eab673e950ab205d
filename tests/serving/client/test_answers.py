"""Answers of a server that is no captioner's, or that means harm."""

from collections.abc import Callable

import pytest

from serving.client import CaptionClient, RequestRefused
from serving.client.answers import parse_caption, parse_card, parse_signatures, parse_status
from serving.wire import wire_pb2
from tests.support.fake_server import answer_for, integers, numbers, serving, strings

REFUSED = {
    "caption without rows": (dict(caption=strings([], 0)), "caption is object of the shape [0]"),
    "caption without axes": (dict(caption=strings(["a"])), "caption is object of the shape []"),
    "captions of nothing": (dict(captions=strings([], 1, 0)), "captions is object of the shape"),
    "caption of numbers": (dict(caption=numbers([1.0], 1)), "caption is float32 of the shape [1]"),
    "score of strings": (dict(score=strings(["high"], 1)), "score is object of the shape [1]"),
    "score of 33 axes": (dict(score=numbers([1.0], *[1] * 33)), "score cannot be read"),
    "scores of a billion": (dict(scores=numbers([1.0], 1, 10**9)), "scores cannot be read"),
    "tokens of one axis": (dict(tokens=integers([1], 1)), "tokens is int32 of the shape [1]"),
    "attention that is no number": (
        dict(attention=numbers([float("nan")], 1, 1, 1, 1)),
        "attention holds values that are no numbers",
    ),
}


def answer_with(**outputs: wire_pb2.TensorProto) -> wire_pb2.PredictResponse:
    answer = answer_for("a dog")
    for alias, proto in outputs.items():
        answer.outputs[alias].CopyFrom(proto)
    return answer


@pytest.mark.parametrize("name", REFUSED)
def test_output_that_is_not_what_its_name_says(name):
    outputs, text = REFUSED[name]
    with pytest.raises(RequestRefused) as caught:
        parse_caption(answer_with(**outputs), 0.0)
    assert text in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("card", ["", "[1]", "{", "[" * 100_000, '"text"'])
def test_card_that_is_none(card):
    answer = wire_pb2.PredictResponse(outputs={"card": strings([card], 1)})
    with pytest.raises(RequestRefused, match="not a model's card"):
        parse_card(answer)


def test_signatures_that_are_none():
    answer = wire_pb2.GetModelMetadataResponse()
    answer.metadata["signature_def"].value = b"\xff\xff"
    with pytest.raises(RequestRefused, match="cannot be read"):
        parse_signatures(answer)


def test_state_of_a_later_server_goes_by_its_number():
    answer = wire_pb2.GetModelStatusResponse()
    answer.model_version_status.add(version=3, state=77)
    assert parse_status(answer)[0].state == "77"


def of(answer: wire_pb2.PredictResponse) -> Callable:
    return lambda request, context: answer


def test_client_survives_a_hostile_answer():
    hostile = answer_with(score=numbers([1.0], 2**40))
    with serving(of(hostile)) as target, CaptionClient(target) as client:
        with pytest.raises(RequestRefused, match="score cannot be read"):
            client.caption(b"photo")
        outcomes = list(client.caption_many([b"photo", b"photo"]))
        assert [type(outcome.error) for outcome in outcomes] == [RequestRefused] * 2
