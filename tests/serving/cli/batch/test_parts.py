"""The files of a job: finished shards are whole, the joined answers complete and in order."""

import json
from pathlib import Path

import pytest

from imgcap.errors import ConfigError, DataError
from imgcap.files.locations import open_file
from serving.cli.batch.inputs import Reference
from serving.cli.batch.parts import Counts, Parts
from serving.client.errors import ServerUnavailable


def answer(name: str, caption: str | None) -> dict:
    return {"image": name, "caption": caption, "error": None if caption else "not an image"}


@pytest.fixture(params=["local", "ram://parts"])
def parts(request: pytest.FixtureRequest, tmp_path: Path) -> Parts:
    folder = str(tmp_path) if request.param == "local" else f"{request.param}/{tmp_path.name}"
    parts = Parts(f"{folder}/captions.jsonl")
    with parts.held():
        yield parts


def read(location: str) -> list[dict]:
    with open_file(location) as file:
        return [json.loads(line) for line in file.read().decode().splitlines()]


def test_images_of_shards_are_what_was_written(parts: Parts) -> None:
    shards = [
        [Reference("ä\\xe9.jpg", "ä\udce9.jpg"), Reference("b", "gs://b")],
        [Reference("", "r")],
    ]
    assert parts.write_images(shards) == (2, 3)
    assert [list(parts.read_images(shard)) for shard in (0, 1)] == shards


def test_shards_are_finished_by_their_last_file_and_joined_in_order(parts: Parts) -> None:
    assert parts.find_finished({}) == {}
    assert parts.write_answers(1, [answer("c", "Ein Käse"), answer("d", None)]) == Counts(1, 1)
    assert parts.write_answers(0, [answer("a", "one"), answer("b", "two")]) == Counts(2, 0)
    assert parts.find_finished({}) == {0: Counts(2, 0), 1: Counts(1, 1)}
    parts.join(2, 1)
    assert [one["image"] for one in read(parts.output)] == ["a", "b", "c"]
    assert read(parts.output)[2]["caption"] == "Ein Käse"
    assert read(parts.unreadable) == [answer("d", None)]
    parts.clear()
    assert (
        parts.find_finished({}) == {} if "ram:" in parts.folder else not Path(parts.folder).exists()
    )


def test_a_shard_whose_answers_were_lost_is_made_anew(parts: Parts) -> None:
    parts.write_answers(0, [answer("a", "one")])
    with open_file(f"{parts.folder}/00000000.captions", "wb") as file:
        file.write(b'{"ima')
    with pytest.raises(DataError, match="has 5 bytes of 48: start the same command again"):
        parts.join(1, 0)
    assert parts.find_finished({}) == {}


def test_half_of_a_mark_finishes_nothing(parts: Parts) -> None:
    parts.write_answers(0, [answer("a", "one")])
    for content in (b"", b"[1, 0"):
        with open_file(f"{parts.folder}/00000000.done", "wb") as file:
            file.write(content)
        assert parts.find_finished({}) == {}


def test_why_a_job_failed_is_told_once(parts: Parts) -> None:
    assert not parts.has_failed() and parts.take_failure() is None
    parts.fail(ServerUnavailable("nobody answers: at all"))
    assert parts.has_failed()
    error = parts.take_failure()
    assert type(error) is ServerUnavailable and str(error) == "nobody answers: at all"
    assert not parts.has_failed()


def test_a_plan_is_read_back_or_refused(parts: Parts) -> None:
    assert parts.read_plan() is None
    parts.write_plan({"job": {"input": "x"}, "shards": 3})
    assert parts.read_plan()["shards"] == 3
    with open_file(parts.plan) as file:
        content = file.read()
    for other in (content.replace(b"3", b"4", 1), b"", b"[1]", b"{}"):
        with open_file(parts.plan, "wb") as file:
            file.write(other)
        with pytest.raises(DataError, match="captions.job.json is damaged: remove it"):
            parts.read_plan()


def test_two_commands_do_not_share_an_output(tmp_path: Path) -> None:
    parts = Parts(f"{tmp_path}/captions.jsonl")
    same = Parts(parts.output).held()
    with parts.held(), pytest.raises(ConfigError, match="is being written by another"), same:
        pass
